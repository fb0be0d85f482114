#!/usr/bin/env python3
"""Train one of the networks of the painted world, chapters 17 to 19, and write it to ddpm_lit/assets/painted_NAME.safetensors, with its
scores, processor seconds and command in results/painted.json. `clip`: the encoder of captions and pictures; `prior`: from a caption's
embedding to a picture's; `decoder`: from there to latents. In this order, after the VAE
and the text model: each needs those before it."""
import argparse, json, time
from dataclasses import replace
from pathlib import Path
import torch
from ddpm_lit import unclip
from ddpm_lit.latent import Judge, PaintedWorld, load_vae
from ddpm_lit.text import load_painter, tokenize
from measure import ROOT, command, record, write


def seeded(seed): return torch.Generator().manual_seed(seed)

def watch(name, every, start):
    "Prints how a training is getting on."
    losses = []
    def each(n, loss):
        losses.append(loss)
        if n % every == 0: print(f'{name} {n}: loss {torch.stack(losses[-every:]).mean():.4f}, {time.process_time() - start:.0f} s', flush=True)
    each.losses = losses
    return each

def fit(trainer, name):
    "The averaged weights at the end."
    start = time.process_time()
    def each():
        if trainer.n % trainer.config.log_every == 0:
            print(f"{name} {trainer.n}: loss {trainer.rows[-1]['loss']:.4f}, {time.process_time() - start:.0f} s", flush=True)
    trainer.fit(progress=False, each=each)
    return trainer.average.model.cpu(), trainer.rows[-1]['loss']

def clip(args):
    torch.manual_seed(args.seed)
    steps = args.steps or 600
    batches = unclip.captioned(PaintedWorld('train'), 256, generator=seeded(args.seed))
    each = watch('clip', 100, time.process_time())
    net = unclip.train_clip(unclip.CLIP(), batches, steps, device=args.device, each=each).cpu()
    return net, dict(steps=steps, batch=256, loss=torch.stack(each.losses[-100:]).mean().item(), kappa=net.kappa.item())

def prior(args):
    torch.manual_seed(args.seed)
    config = replace(unclip.PRIOR, seed=args.seed, steps=args.steps or unclip.PRIOR.steps)
    batches = unclip.captioned(PaintedWorld('train'), 1000, generator=seeded(args.seed))
    pairs = unclip.embedded_pairs(unclip.load_part(unclip.CLIP), batches, config.batch_size, generator=seeded(args.seed + 1))
    net, loss = fit(unclip.PriorTrainer(config, unclip.PriorNet(), pairs), 'prior')
    return net, dict(steps=config.steps, batch=config.batch_size, loss=loss)

def decoder(args):
    torch.manual_seed(args.seed)
    vae = load_vae()
    config = replace(unclip.DECODER, seed=args.seed, steps=args.steps or unclip.DECODER.steps)
    batches = unclip.captioned(PaintedWorld('train'), config.batch_size, generator=seeded(args.seed))
    clip, reader = unclip.load_part(unclip.CLIP), load_painter(args.start).denoise.model
    scenes, x, _ = next(unclip.captioned(PaintedWorld('train'), 4000, generator=seeded(args.seed + 2)))
    plainest = [unclip.plain(*row) for row in zip(scenes.garments[:, 0].tolist(), scenes.colours[:, 0].tolist(), scenes.grounds.tolist())]
    net = unclip.from_text(reader, clip, x, torch.stack([tokenize(words) for words in plainest]))
    config = replace(config, model=net.config)
    pairs = unclip.embedded_paintings(clip, batches, seeded(args.seed + 1))
    net, loss = fit(unclip.DecoderTrainer(config, net, pairs, vae, device=args.device), 'decoder')
    return net, dict(steps=config.steps, batch=config.batch_size, loss=loss)

PARTS = dict(clip=clip, prior=prior, decoder=decoder)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=PARTS)
    parser.add_argument('--steps', type=int, help='instead of the usual number')
    parser.add_argument('--seed', default=0, type=int)
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--start', type=Path, help='for decoder: weights of chapter 18 to start from (those in the package)')
    parser.add_argument('--out', type=Path, help='where the weights go (the package)')
    args = parser.parse_args()
    line, start = command(args, parser), time.process_time()
    net, about = PARTS[args.what](args)
    about |= dict(command=line, cpu_seconds=round(time.process_time() - start), weights=sum(p.numel() for p in net.parameters()))
    path = unclip.save_part(net, args.out or ROOT/'ddpm_lit'/'assets'/f'painted_{args.what}.safetensors', about=json.dumps(about))
    print(path, path.stat().st_size, about)
    if args.out: return
    file = ROOT/'results'/'painted.json'
    results = json.loads(file.read_text()) if file.exists() else {}
    write(file, results | {args.what: record(args, parser) | about})

if __name__ == '__main__': main()
