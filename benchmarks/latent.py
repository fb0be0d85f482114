#!/usr/bin/env python3
"""Diffusion in the latents of the VAE against diffusion in pixels, on painted pictures: `Trainer` and `LatentTrainer` with the
same settings, U-Nets of nearly equal size, trained for the same processor time (`--budgets`, in seconds; each run has a learning
rate that falls to zero in its own time) and scored by the Fréchet distance of 1,000 pictures. The kind `real` scores what the VAE makes of real pictures. Goes to results/painted.json, part `latent`, run by run; what
is there is not measured again, and several calls may share the file. The longest run of the first seed leaves 16 of its pictures in
nbs/17_KIND.png."""
import argparse, json, time
from dataclasses import asdict, replace
from pathlib import Path
import torch
from ddpm_lit.evaluation import compare, features
from ddpm_lit.latent import LatentTrainer, PaintedWorld, VAE, draw_scenes, load_network, paintings
from ddpm_lit.sampling import sample
from ddpm_lit.training import TrainConfig, Trainer
from ddpm_lit.unet import UNet, UNetConfig, forward_flops
from ddpm_lit.viz import image_grid, save_png
from measure import ROOT, command, keep, record

PIXELS = UNetConfig(image_size=32, in_channels=3, channels=32, mults=(1, 1, 2, 3), blocks=1, attn=(8,))
LATENTS = UNetConfig(image_size=8, in_channels=8, channels=64, mults=(1, 1), blocks=2, attn=(8, 4), heads=2)


def trainer_of(kind, steps, seed, vae, device):
    torch.manual_seed(seed)
    net = PIXELS if kind == 'pixel' else replace(LATENTS, in_channels=vae.latent)
    config = TrainConfig(model=net, steps=steps, seed=seed, log_every=steps)
    loader = paintings(PaintedWorld('train'), config.batch_size, torch.Generator().manual_seed(seed))
    loader = ((x.to(device), y.to(device)) for x, y in loader)
    if kind == 'pixel': return Trainer(config, UNet(net), loader, device)
    return LatentTrainer(config, UNet(net), loader, vae, device=device)

def seconds_of(trainer, steps):
    start = time.process_time()
    for _ in range(steps): trainer.step()
    return time.process_time() - start

def run(kind, budget, seed, args, vae, clouds, path):
    "Train for `budget` seconds of processor time, draw, score."
    probe = trainer_of(kind, 1000, seed, vae, args.device)
    seconds_of(probe, 2)
    steps = max(2, round(budget*8/seconds_of(probe, 8)))
    trainer = trainer_of(kind, steps, seed, vae, args.device)
    start = time.process_time()
    trainer.fit(progress=False)
    seconds, start = time.process_time() - start, time.process_time()
    pixel, net = kind == 'pixel', trainer.config.model
    more = {} if pixel else dict(finish=trainer.vae.pictures)
    denoise = trainer.denoiser() if pixel else replace(trainer.denoiser(), clip=False)
    x = sample(denoise, args.n, 'dpm_solver', args.steps, seed=seed, batch=100, **more)
    drawing = time.process_time() - start
    score = compare(features(x), *clouds, seed=seed)[0]
    if path and seed == args.seeds[0] and budget == max(args.budgets) and kind in ('pixel', 'latent'):
        save_png(image_grid(x[:16], 8), ROOT/'nbs'/f'17_{kind}.png')
    return dict(kind=kind, budget=budget, seed=seed, steps=steps, seconds=round(seconds, 1), drawing=round(drawing, 1),
                loss=trainer.rows[-1]['loss'], parameters=sum(p.numel() for p in trainer.model.parameters()),
                flops=forward_flops(net), **asdict(score))

def known(path): return json.loads(path.read_text()).get('latent', {}).get('runs', {}) if path and path.exists() else {}

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kinds', default=['real', 'latent', 'pixel'], nargs='+', choices=('real', 'latent', 'pixel'))
    parser.add_argument('--budgets', default=[40., 80., 160.], type=float, nargs='+', help='processor seconds of a training')
    parser.add_argument('--seeds', default=[0], type=int, nargs='+')
    parser.add_argument('--n', default=1000, type=int, help='pictures to be scored')
    parser.add_argument('--steps', default=20, type=int, help='of DPM-Solver++')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--out', help='where the JSON goes (results/painted.json)')
    parser.add_argument('--quick', action='store_true', help='seconds instead of minutes; writes nothing unless --out is given')
    args = parser.parse_args()
    if args.quick: args.n, args.budgets, args.seeds, args.steps = 200, [1.], args.seeds[:1], 2
    path = Path(args.out) if args.out else None if args.quick else ROOT/'results'/'painted.json'
    line, args.seed = command(args, parser), args.seeds[0]
    head = record(args, parser) | dict(command=line, setting=dict(n=args.n, steps=args.steps, batch=64, pixels=asdict(PIXELS), latents=asdict(LATENTS)))
    g = torch.Generator().manual_seed(0)
    def real(split, n): return PaintedWorld(split).paint(draw_scenes(n, generator=g), g)
    sizes = (300, 600) if args.quick else (2000, 10_000)
    held_out, vae = real('test', sizes[0]), None
    clouds = [features(held_out), features(real('train', sizes[1]))]
    for kind in args.kinds:
        if kind != 'pixel' and vae is None: vae = load_network(VAE, 'painted_vae', args.device)
        for seed in args.seeds:
            for budget in [0.] if kind == 'real' else args.budgets:
                key = f'{kind} {budget:g} {seed}'
                if key in known(path): continue
                if kind == 'real':
                    x = vae.pictures(vae.latents(held_out.to(args.device), torch.Generator(args.device).manual_seed(0)))
                    found = asdict(compare(features(x.cpu()), *clouds)[0])
                else: found = run(kind, budget, seed, args, vae, clouds, path)
                found['command'] = line
                print(key, {k: found[k] for k in ('steps', 'seconds', 'drawing', 'value', 'spread', 'floor') if k in found}, flush=True)
                keep(path, 'latent', key, found, head)

if __name__ == '__main__': main()
