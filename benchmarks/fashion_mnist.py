#!/usr/bin/env python3
"""Results with evidence: one model of Fashion-MNIST, trained at 32×32 and judged, each part by one command of ten minutes on a GPU.

train        the recipe: all 60,000 images, with and without their class in one network, for a given time
steps        Fréchet and kernel distance and speed against the number of steps, four samplers
classifiers  independent classifiers: can one trained on real images read the samples, and one trained on samples the real images?
bits         bound on the bits per dimension of the test images
fastai       the protocol of the figures in fast.ai's course: 2,048 images against 2,048

Every part but train judges --model, writes as it goes, and goes on where --limit stopped it when it is called again."""
import argparse, hashlib, itertools, statistics, tempfile, time
from dataclasses import asdict, replace
from pathlib import Path
import torch
from contestants import FOREVER, count
from ddpm_lit.data import DeviceLoader, ImageSet, load_images
from ddpm_lit.elbo import bits_per_dim, vlb_terms
from ddpm_lit.evaluation import compare, features, train_classifier
from ddpm_lit.reverse import timesteps
from ddpm_lit.sampling import class_labels, load_denoiser, sample
from ddpm_lit.runs import Run, load_config, load_pretrained, new_run, read_metrics, ready, save_config, save_pretrained
from ddpm_lit.training import Probe, TrainConfig
from ddpm_lit.unet import UNet, UNetConfig
from ddpm_lit.viz import to_float
from measure import ROOT, destination, options, record, repeated, resumed, short, steps_for, timed, write

SHIPPED, RUN = ROOT/'ddpm_lit/assets/fashion_mnist.safetensors', Path('runs/fashion_mnist')
NET = UNetConfig(32, 1, channels=64, mults=(1, 2, 2), blocks=1, attn=(16, 8), num_classes=10)   # 4.6 M parameters, 9.3 MB in fp16
RECIPE = TrainConfig('FashionMNIST', NET, prediction='v', schedule='cosine', no_class=.1, steps=FOREVER, batch_size=512, lr=1.5e-3, warmup=500, log_every=100)
QUICK = TrainConfig(model=replace(NET, channels=32, mults=(1, 1), attn=()), steps=FOREVER, batch_size=8, warmup=2, log_every=2)
SAMPLERS = {'ancestral, β̃': dict(sampler='ancestral', var='beta_tilde'), 'ancestral, β': dict(sampler='ancestral', var='beta'),
            'DDIM': dict(sampler='ddim'), 'DPM-Solver++(2M)': dict(sampler='dpm_solver')}


def recipe(args): return replace(QUICK if args.quick else RECIPE, seed=args.seed)

def images(args, size):
    "Training and test images, size × size."
    both = [load_images(recipe(args).data, split, size, args.root) for split in ('train', 'test')]
    return [x[:1000] for x in both] if args.quick else both

def model(args):
    "The Denoiser to be judged; --quick takes an untrained one unless another is named."
    if args.quick and args.model == 'fashion_mnist': return ready(UNet(recipe(args).model), recipe(args), args.device)
    return load_denoiser(args.model, args.device)

def fingerprint(net): return hashlib.sha256(b''.join(v.cpu().numpy().tobytes() for v in net.state_dict().values())).hexdigest()[:16]

def draw(denoise, sampler, steps, n, seed, device, label=None):
    "n images, uint8 `[n, C, H, W]` on the CPU, and the seconds it took."
    images, batch = [], 1500 if device.type == 'cuda' else 250
    work = lambda: images.append(sample(denoise, n, steps=steps, label=label, seed=seed, batch=batch, **SAMPLERS[sampler]))
    seconds = timed(work, device)
    return images[0], seconds

def cloud(x, device): return features(x, batch_size=1000 if device.type == 'cuda' else 100, device=device).to(device)

def scores(*clouds): return [asdict(s) for s in compare(*clouds)]

def show(row): print('  '.join(f'{k} {v:.4g}' if isinstance(v, float) else f'{k} {v}' for k, v in row.items() if not isinstance(v, (list, dict))),
                     *(f"{s['name']} {s['value']:.4f} ± {s['spread']:.4f} (real {s['floor']:.4f})" for s in row.get('scores', [])), sep='  ', flush=True)


def calibrate(trainer, deadline, seconds):
    "How many steps the training can have if it is to end at `deadline`; the steps taken to find out are its first ones."
    repeated(trainer.step, 3)()                                   # compiles
    k = steps_for(trainer.step, trainer.device, seconds)
    rate = k/timed(repeated(trainer.step, k), trainer.device)
    return trainer.n + max(1, int(.96*rate*(deadline - time.perf_counter())))   # the rest is for checkpoints and the log

def train(args, result, start, run):
    "The recipe, in a run that is continued if it was begun; its averaged weights go to --model."
    device, config = torch.device(args.device), load_config(run) if (run/'config.json').exists() else recipe(args)
    train, test = images(args, config.model.image_size)
    if not run.exists(): new_run(run, config)
    torch.manual_seed(config.seed)
    loader = DeviceLoader(train, config.batch_size, device, config.seed)
    trainer = Run(run, config, UNet(config.model), loader, device, device.type == 'cuda', Probe.make(test, config.noise_schedule(), device=device))
    trainer.load()
    if trainer.n == 0:
        steps = calibrate(trainer, start + (2 if args.quick else 60*args.minutes), .2 if args.quick else 5)
        trainer.config = replace(config, steps=steps, checkpoint_every=max(1, steps//5), sample_every=FOREVER)
        save_config(run, trainer.config)
    print(trainer.summary(), flush=True)
    if trainer.fit(): return print('stopped; call again to go on')
    config, rows, m = trainer.config, read_metrics(run), result['machine']
    path = run/'weights.safetensors' if args.quick else SHIPPED if args.model == 'fashion_mnist' else Path(args.model)
    seen = config.steps*config.batch_size
    words = f"{len(train):,} training images of {config.data}, {config.steps:,} steps of {config.batch_size}, {seen/len(train):.0f} epochs"
    save_pretrained(run, path, recipe=words, hardware=f"{m['device']}; {m['cpu']}", command=result['command'], commit=str(result['commit']))
    return result | dict(parameters=count(trainer.model), config=asdict(config), images=len(train), images_seen=seen, seconds=short(time.perf_counter() - start),
                         images_per_s=statistics.median(r['images_per_s'] for r in rows), share_of_ceiling=statistics.median(r['mfu'] for r in rows),
                         loss=rows[-1]['loss'], loss_bins=rows[-1].get('bins'), bytes=path.stat().st_size, sha256=fingerprint(load_pretrained(path)[0].model))


def fits(row, runs, args, start):
    "Whether there is time for `row`, judged by the longest walk of its sampler so far."
    walks = [r for r in runs if r['sampler'] == row['sampler']]
    rate = max(((r['steps'], r['images_per_s']*r['steps']) for r in walks), default=(0, float('inf')))[1]    # images times steps a second
    return time.perf_counter() - start + row['n']*row['steps']/rate <= args.limit

def steps(args, denoise, result, start):
    "Yields results that grow by one sampler and number of steps at a time, the short walks first."
    device, sets = torch.device(args.device), images(args, denoise.model.config.image_size)
    n = 130 if args.quick else 3*len(sets[1])//4                   # as many as a floor is drawn from
    held_out, reference = (cloud(x.images, device) for x in sets[::-1])
    for k, sampler in itertools.product((2, 3) if args.quick else (5, 10, 20, 50, 100, 250, 1000), SAMPLERS):
        row, runs = dict(sampler=sampler, steps=k, n=n), result['runs']
        if any(row.items() <= r.items() for r in runs): continue
        if not fits(row, runs, args, start): print(f'no time left for {sampler} in {k} steps; call again'); continue
        if not runs: draw(denoise, sampler, 2, min(n, 1500), args.seed, device)     # the first call is slow
        x, seconds = draw(denoise, sampler, k, n, args.seed, device)
        row |= dict(images_per_s=short(n/seconds), scores=scores(cloud(x, device), held_out, reference, sets[1].labels))
        yield (result := result | dict(runs=runs + [row]))


def recall(net, data):
    "Share of each class that is recognised."
    right = features(data.images, net).argmax(1) == data.labels
    return [short(right[data.labels == c].double().mean().item()) for c in range(len(data.classes))]

def classifiers(args, denoise, result, start):
    "Yields results that grow by one classifier at a time: trained on real images, and in the same way on as many samples."
    device, (real, test) = torch.device(args.device), images(args, denoise.model.config.image_size)
    n, (sampler, k) = len(real), ('DDIM', 2 if args.quick else 50)
    labels = class_labels('all', n, denoise.model.config.num_classes)
    x, seconds = draw(denoise, sampler, k, n, args.seed, device, 'all')
    samples = ImageSet(x, labels, real.classes)
    result |= dict(sampler=sampler, steps=k, n=n, images_per_s=short(n/seconds))
    for seed, (name, data) in itertools.product(range(args.seed + 1, args.seed + (2 if args.quick else 4)), dict(real=real, samples=samples).items()):
        row, runs = dict(trained_on=name, seed=seed), result['runs']
        if any(row.items() <= r.items() for r in runs): continue
        begin = time.perf_counter()
        if begin - start + max((r['seconds'] for r in runs), default=0) > args.limit: return print('the limit is reached; call again to go on')
        net = train_classifier(data, steps=3 if args.quick else 3000, seed=seed)
        by_class = dict(test=recall(net, test), samples=recall(net, samples))
        row |= {k: short(statistics.fmean(v)) for k, v in by_class.items()} | dict(by_class=by_class, seconds=short(time.perf_counter() - begin))
        yield (result := result | dict(runs=runs + [row]))


def pooled(runs):
    "Mean and standard error over the images of all batches."
    N = sum(r['n'] for r in runs)
    mean = sum(r['n']*r['mean'] for r in runs)/N
    squares = sum((r['n'] - 1)*r['variance'] + r['n']*(r['mean'] - mean)**2 for r in runs)
    return dict(images=N, mean=short(mean), standard_error=short((squares/(N - 1)/N)**.5))

def bits(args, denoise, result, start):
    "Yields results that grow by one batch of test images at a time; without class, all T steps, in fp32."
    device, (_, test) = torch.device(args.device), images(args, denoise.model.config.image_size)
    times, batch = (timesteps(denoise.schedule.T, 4), 4) if args.quick else (None, 500 if device.type == 'cuda' else 20)
    for first in range(0, 8 if args.quick else len(test), batch):
        runs, begin = result['runs'], time.perf_counter()
        if any(r['first'] == first for r in runs): continue
        if begin - start + max((r['seconds'] for r in runs), default=0) > args.limit: return print('the limit is reached; call again to go on')
        x0 = to_float(test.images[first:first + batch]).to(device)
        b = bits_per_dim(vlb_terms(denoise, x0, 'beta_tilde', times, generator=torch.Generator(device).manual_seed(args.seed + first)), x0)
        total = b.sum(0)
        row = dict(first=first, n=len(x0), mean=total.mean().item(), variance=total.var().item(), prior=b[0].mean().item(), decoder=b[-1].mean().item(),
                   seconds=short(time.perf_counter() - begin))
        yield (result := result | dict(runs=runs + [row], bits_per_dim=pooled(runs + [row])))


def fastai(args, denoise, result, start):
    "Yields results that grow by one draw at a time: n samples against n training images, beside n other training images against the same."
    device, (train, _) = torch.device(args.device), images(args, denoise.model.config.image_size)
    n, everything = 130 if args.quick else 2048, cloud(train.images, device)
    walks = [('DPM-Solver++(2M)', 20), ('DDIM', 50), ('ancestral, β̃', 50)]
    for seed, (sampler, k) in itertools.product(range(args.seed, args.seed + (1 if args.quick else 5)), walks):
        row, runs = dict(sampler=sampler, steps=2 if args.quick else k, n=n, seed=seed), result['runs']
        if any(row.items() <= r.items() for r in runs): continue
        if not fits(row, runs, args, start): return print('the limit is reached; call again to go on')
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        reference, others = order[:n], order[n:6*n]
        x, seconds = draw(denoise, sampler, row['steps'], n, seed, device)
        row |= dict(images_per_s=short(n/seconds), scores=scores(cloud(x, device), everything[others], everything[reference], train.labels[others]))
        yield (result := result | dict(runs=runs + [row]))


PARTS = dict(steps=steps, classifiers=classifiers, bits=bits, fastai=fastai)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['train', *PARTS])
    options(parser, limit=540, sizes=False)
    parser.add_argument('--model', default='fashion_mnist', help='fashion_mnist, the one in the package; a file of save_pretrained, which train writes; or a run')
    parser.add_argument('--minutes', default=9, type=float, help='for train: from the start of the program to its end')
    parser.add_argument('--root', default='~/.cache/ddpm_lit', help='where the files of Fashion-MNIST lie')
    args, start = parser.parse_args(), time.perf_counter()
    out, result = destination(args), record(args, parser)
    if args.what == 'train':
        with tempfile.TemporaryDirectory() as folder: result = train(args, result, start, Path(folder)/'run' if args.quick else RUN)
        if result: write(out, result); show(result)
        return
    denoise = model(args)
    result |= dict(setting=dict(data=recipe(args).data, image_size=denoise.model.config.image_size, model=fingerprint(denoise.model), parameters=count(denoise.model)), runs=[])
    result['runs'] = resumed(out, result)
    for row in result['runs']: show(row)
    for result in PARTS[args.what](args, denoise, result, start):
        show(result['runs'][-1])
        write(out, result)
    if 'bits_per_dim' in result: show(result['bits_per_dim'])

if __name__ == '__main__': main()
