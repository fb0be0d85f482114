#!/usr/bin/env python3
"""`train`: one U-Net, trained for the same number of steps from the same weights to predict v with the cosine schedule, the
velocity of rectified flow or, if asked, ε with the linear schedule. Each draws N images in 1 to 50 steps of DDIM, which for the
flow is Euler's method, and is scored by the Fréchet distance in the features of the shipped classifier. `bits`: bits per dimension
of the model in the package by the probability-flow ODE, beside the bound, on the same images. Both go to results/flow.json, run
by run; what is there is not measured again, and several calls may share the file."""
import argparse, json, math, time
from dataclasses import asdict, replace
from pathlib import Path
import torch
from ddpm_lit.data import DeviceLoader, load_images
from ddpm_lit.elbo import bits_per_dim, vlb_terms
from ddpm_lit.evaluation import compare, features
from ddpm_lit.flow import FlowTrainer, LineVelocity, line_schedule, line_times, log_likelihood
from ddpm_lit.reverse import timesteps
from ddpm_lit.runs import load_pretrained
from ddpm_lit.sampling import even_in_lambda, sample
from ddpm_lit.training import TrainConfig, Trainer
from ddpm_lit.unet import UNet, UNetConfig
from ddpm_lit.viz import to_float
from measure import ROOT, command, keep, record

KINDS = dict(eps=(Trainer, dict(prediction='eps', schedule='linear')), v=(Trainer, dict(prediction='v', schedule='cosine')),
             flow=(FlowTrainer, {}))
STEPS = (1, 2, 5, 10, 20, 50)
NET = UNetConfig(mults=(1, 1, 2), attn=())       # 0.76 million parameters, 77 million operations: a little smaller than `tiny`


def train(kind, steps, seed, images, batch, device):
    "A trainer at the end of its training, and the processor seconds that took."
    cls, settings = KINDS[kind]
    config = TrainConfig(model=NET, steps=steps, batch_size=batch, seed=seed, log_every=steps, **settings)
    torch.manual_seed(seed)
    trainer = cls(config, UNet(config.model), DeviceLoader(images, batch, device, seed), device)
    start = time.process_time()
    trainer.fit(progress=False)
    return trainer, time.process_time() - start

def nearest_times(schedule, tau):
    "Times of a schedule that lie where `tau`, falling from 1 to 0, wants them on the straight line."
    mine = line_times(schedule)
    inner = {int((mine - v).abs().argmin()) for v in tau[1:-1]} - {0, schedule.T}
    return sorted(inner | {0, schedule.T}, reverse=True)

def spacings(denoise, kind, n):
    "`{name: times}`: even in the model's own t, and as the other family takes them."
    other = TrainConfig().noise_schedule() if kind == 'flow' else line_schedule(denoise.schedule.T)
    own = timesteps(denoise.schedule.T, n)
    return {'own': own, 'other': nearest_times(denoise.schedule, line_times(other)[timesteps(other.T, n)].tolist())}

def score(images, clouds, labels, seed):
    return asdict(compare(features(images), *clouds, labels, seed=seed)[0])

def bits(args, path, head):
    "Bits per dimension of the model in the package by the ODE with more and more steps, and the bound, all for the same images."
    images = load_images('fashion-12k', 'test', 16).images[:args.images].to(args.device)
    denoise, generator = load_pretrained('fashion_mnist', args.device)[0], torch.Generator().manual_seed(0)
    flow, D = LineVelocity(replace(denoise, clip=False)), images[0].numel()
    y = (images + torch.rand(images.shape, generator=generator).to(images.device) - .5)*2/255 - 1
    probes = (torch.randint(2, (2, *images.shape), generator=generator)*2. - 1).to(images.device)
    def row(b, **more): return dict(value=b.mean().item(), standard_error=b.std().item()/len(b)**.5, each=b.tolist(), **more)
    for n in (25, 50) if args.quick else (25, 50, 100, 200):
        times = even_in_lambda(denoise.schedule, n, limit=5.)[-2::-1]
        tau, start = flow.tau[times], time.process_time()
        log_p = log_likelihood(flow, (1 - tau[0]).float()*y, tau, probes).double() + D*math.log(1 - tau[0])
        b = -(log_p + D*math.log(2/255))/(D*math.log(2))
        noise = ((b[0] - b[1]).square().mean()/4/len(images)).sqrt().item()      # of the probes, in the mean over both and all images
        r = row(b.mean(0), first_time=times[0], probe_error=noise, seconds=round(time.process_time() - start, 1))
        print(f"{len(times) - 1:4} steps: {r['value']:.4f} ± {r['standard_error']:.4f}, probes ± {noise:.4f}, {r['seconds']} s", flush=True)
        keep(path, 'bits', f'ode {len(times) - 1}', r, head)
    x0 = to_float(images)
    bound = bits_per_dim(vlb_terms(denoise, x0, 'beta_tilde', 10 if args.quick else None, generator=generator).sum(0), x0)
    print(f'bound: {bound.mean():.4f} ± {bound.std()/len(bound)**.5:.4f}; bound - ODE {(bound - b.mean(0)).mean():.4f} ± {(bound - b.mean(0)).std()/len(bound)**.5:.4f}')
    keep(path, 'bits', 'bound', row(bound), head)

def known(path): return json.loads(path.read_text()).get('train', {}).get('runs', {}) if path and path.exists() else {}

def trainings(args, path, head):
    train_set, held_out = (load_images('fashion-12k', split, 16) for split in ('train', 'test'))
    if args.quick: train_set = train_set[:1000]
    clouds = [features(x.images) for x in (held_out, train_set)]
    for seed in args.seeds:
        for kind in args.kinds:
            if f'{kind} {seed}' in known(path): continue
            trainer, seconds = train(kind, args.steps, seed, train_set, 8 if args.quick else 64, args.device)
            denoise, run = trainer.denoiser(), dict(seconds=round(seconds, 1), loss=trainer.rows[-1]['loss'], own={}, other={})
            for n in STEPS[:2] if args.quick else STEPS:
                for name, times in spacings(denoise, kind, n).items():
                    if name == 'other' and n != 5: continue
                    start = time.process_time()
                    images = sample(denoise, args.n, 'ddim', times, seed=seed, batch=250)
                    run[name][n] = score(images, clouds, held_out.labels, seed) | dict(seconds=round(time.process_time() - start, 1))
                    print(f"{kind:5} seed {seed} {len(times) - 1:3} steps, spacing {name:5}: FD {run[name][n]['value']:.3f}", flush=True)
            print(f'{kind:5} seed {seed}: {args.steps} steps in {seconds:.0f} s of processor time', flush=True)
            keep(path, 'train', f'{kind} {seed}', run, head)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=('train', 'bits'))
    parser.add_argument('--kinds', default=['v', 'flow'], nargs='+', choices=list(KINDS))
    parser.add_argument('--steps', default=600, type=int, help='of each training')
    parser.add_argument('--seeds', default=[0, 1, 2], type=int, nargs='+')
    parser.add_argument('--n', default=1000, type=int, help='images to be scored')
    parser.add_argument('--images', default=16, type=int, help='for bits: how many held-out images')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--out', help='where the JSON goes (results/flow.json)')
    parser.add_argument('--quick', action='store_true', help='seconds instead of minutes; writes nothing unless --out is given')
    args = parser.parse_args()
    if args.quick: args.images, args.steps, args.n, args.seeds = 2, min(args.steps, 3), 130, args.seeds[:1]
    path = Path(args.out) if args.out else None if args.quick else ROOT/'results'/'flow.json'
    line, args.seed = command(args, parser), args.seeds[0]
    head = record(args, parser) | dict(command=line, setting=dict(data='fashion-12k', **(
        dict(images=args.images, probes=2) if args.what == 'bits' else dict(net=asdict(NET), batch=64, steps=args.steps, n=args.n))))
    dict(train=trainings, bits=bits)[args.what](args, path, head)

if __name__ == '__main__': main()
