#!/usr/bin/env python3
"""Learned variance of the model in the package: trains its variance head, and measures what the variance is worth on one and the same mean.

head     trains the head of ddpm_lit/assets/fashion_mnist_variance.safetensors again (a minute on one core)
bits     bound on the bits per dimension of held-out images with β, β̃, the analytic optimum and the learned variance
noise    gradient noise of L_vlb with uniform times over that with importance-sampled ones
samples  Fréchet distance of few-step ancestral samples with β̃, the analytic optimum and the learned variance

All but head write into results/learned_variance.json; bits and samples go on where they were stopped."""
import argparse, json, time
from dataclasses import asdict
from pathlib import Path
import torch
from ddpm_lit.data import load_images
from ddpm_lit.evaluation import compare, features, frechet_distance, machine, moments, random_halves
from ddpm_lit.forward import randn_like
from ddpm_lit.learned_variance import best_var, bits_by_var, error_table, load_learned, save_head, train_head, vlb_loss
from ddpm_lit.runs import load_pretrained, write_atomic
from ddpm_lit.sampling import sample
from ddpm_lit.viz import to_float
from measure import ROOT

OUT, HEAD = ROOT/'results/learned_variance.json', ROOT/'ddpm_lit/assets/fashion_mnist_variance.safetensors'
TIMES = sorted({round(1000**(k/31)) for k in range(32)})


def write(path, **parts):
    old = json.loads(path.read_text()) if path.exists() else {}
    write_atomic(path, (json.dumps(old | parts | dict(machine=machine(torch.device('cpu'))), indent=1) + '\n').encode())

def some(split, n, seed):
    images = load_images('fashion-12k', split, 16).images
    return to_float(images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]])

def errors(learned, n): return error_table(learned, some('train', n, 1), TIMES, torch.Generator().manual_seed(2))

def kinds_of(learned, error):
    return dict(beta='beta', beta_tilde='beta_tilde', analytic=lambda x_t, t, s: best_var(learned.schedule, t, x_t, error[t], s), learned='learned')

def head(args):
    if args.quick: return train_head(load_pretrained()[0], load_images('fashion-12k', 'train', 16), 3)
    start = time.process_time()
    learned = train_head(load_pretrained()[0], load_images('fashion-12k', 'train', 16), log_every=50)
    save_head(learned, args.head, trained='python benchmarks/learned_variance.py head', data='fashion-12k')
    print(f'{time.process_time() - start:.0f} s of CPU')

def bits(args):
    learned, _ = load_learned()
    kinds = kinds_of(learned, errors(learned, 4 if args.quick else 64))
    old = json.loads(args.out.read_text()) if args.out.exists() else {}
    x0, rows = some('test', 4 if args.quick else 256, 3), old.get('bits', {}).get('rows', [])
    for steps in [20] if args.quick else [1000, 50, 20, 10, 5]:
        if any(r['steps'] == steps for r in rows): continue
        g, parts = torch.Generator().manual_seed(4), []
        for x in x0.split(32): parts.append(bits_by_var(learned, x, kinds, steps, dense=100 if steps == 1000 else 1000, generator=g))
        b = {k: torch.cat([p[k] for p in parts]) for k in kinds}
        for k in kinds:
            d, n = b[k] - b['beta_tilde'], len(x0)**.5
            rows.append(dict(steps=steps, kind=k, value=b[k].mean().item(), se=(b[k].std()/n).item(), minus=d.mean().item(), minus_se=(d.std()/n).item()))
            print(rows[-1], flush=True)
        write(args.out, bits=dict(images=len(x0), rows=rows))

def noise(args):
    "Gradients of single examples; those of the head alone (the mean is stopped), and of the whole network with the bound alone."
    learned, _ = load_learned()
    S, g, out = learned.schedule, torch.Generator().manual_seed(5), {}
    times, n = (TIMES[::8], 2) if args.quick else (TIMES, 8)
    log_t = torch.tensor(times).double().log()
    for name, params, stop in (('head', list(learned.model.head.parameters()), True), ('network', None, False)):
        if params is None:                                   # U-Net and head together, as if trained with the bound alone
            params = list(learned.model.parameters())
            learned.model.forward = whole(learned.model)
        for p in params: p.requires_grad_()
        rows = []
        for t in times:
            G, L2, mean = 0., 0., 0.
            for x0 in some('train', n, 6 + t).split(1):
                loss = vlb_loss(learned, x0, torch.tensor([t]), randn_like(x0, g), stop=stop).sum()
                grads = torch.autograd.grad(loss, params, allow_unused=True)
                flat = torch.cat([v.flatten() for v in grads if v is not None]).double()
                G, L2, mean = G + flat.square().sum()/n, L2 + loss.detach()**2/n, mean + flat/n
            rows.append((G, L2, mean))
        G, L2, mean = (torch.stack(c) for c in zip(*rows))
        share = trapezoid_weights(times, S.T)                # how many of 1…T each of these times stands for
        total = share.sum()
        mean_all = (share[:, None]*mean).sum(0)/total
        def var(p): return ((share*G/p).sum()/total**2 - mean_all.square().sum()).item()     # p: probability of one t
        flat, rms, best = torch.full_like(G, 1/total.item()), L2.sqrt(), G.sqrt()
        out[name] = dict(uniform_over_importance=var(flat)/var(rms/(share*rms).sum()), uniform_over_best=var(flat)/var(best/(share*best).sum()),
                         first_ten=((share*G)[[t <= 10 for t in times]].sum()/(share*G).sum()).item())       # of E‖∇L‖² at uniform t
        print(name, out[name], flush=True)
    write(args.out, noise=dict(times=times, examples=n, **out))

def trapezoid_weights(times, T):
    edges = [.5] + [(a*b)**.5 if b > a + 1 else (a + b)/2 for a, b in zip(times, times[1:])] + [T + .5]
    return torch.tensor([b - a for a, b in zip(edges, edges[1:])], dtype=torch.float64)

def whole(model):
    "The forward pass of `TwoHeads` with gradients through the U-Net."
    def forward(x, t, y=None):
        kept = []
        hook = model.net.conv_out.register_forward_pre_hook(lambda _, args: kept.append(args[0]))
        prediction, emb = model.net(x, t, y), model.net.cond(t, y)
        hook.remove()
        return torch.cat([prediction, model.head(kept[0], emb)], 1)
    return forward

def samples(args):
    learned, _ = load_learned()
    kinds = kinds_of(learned, errors(learned, 4 if args.quick else 64))
    train, test = (load_images('fashion-12k', split, 16) for split in ('train', 'test'))
    n, all_steps = (130, [2]) if args.quick else (args.n, args.steps)
    old = json.loads(args.out.read_text()) if args.out.exists() else {}
    rows = old.get('samples', {}).get('rows', [])
    reference, held_out = features(train.images), features(test.images)
    real = moments(reference)
    def fd(x, i): return frechet_distance(*moments(x[i]), *real)
    for steps in all_steps:
        cloud = None                                         # features of the samples with β̃, from the same noise
        for k in args.kinds:
            if any((r['steps'], r['kind']) == (steps, k) for r in rows): continue
            x = features(sample(learned, n, 'ancestral', steps, seed=7, batch=250, var=kinds[k]))
            score = compare(x, held_out, reference, test.labels)[0]
            rows.append(dict(steps=steps, kind=k, **asdict(score)))
            if k == 'beta_tilde': cloud = x
            elif cloud is not None:                          # halves of the pairs: what both share drops out
                every = slice(None)
                minus = torch.tensor([fd(x, i) - fd(cloud, i) for i in random_halves(n)])
                rows[-1] |= dict(minus=fd(x, every) - fd(cloud, every), minus_spread=minus.std().item())
            print(rows[-1], flush=True)
            write(args.out, samples=dict(n=n, sampler='ancestral', rows=rows))

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=('head', 'bits', 'noise', 'samples'))
    parser.add_argument('--quick', action='store_true', help='small, to see that it runs; writes into a temporary folder')
    parser.add_argument('--out', type=Path, default=OUT)
    parser.add_argument('--head', type=Path, default=HEAD, help='file to write, for head')
    parser.add_argument('--n', type=int, default=1000, help='images for samples')
    parser.add_argument('--steps', type=int, nargs='+', default=[5, 10, 20, 50], help='numbers of steps for samples')
    parser.add_argument('--kinds', nargs='+', default=['beta_tilde', 'learned', 'analytic', 'beta'], help='variances for samples')
    args = parser.parse_args()
    if args.quick:
        import tempfile
        args.out = Path(tempfile.mkdtemp())/'learned_variance.json'
    globals()[args.part](args)


if __name__ == '__main__': main()
