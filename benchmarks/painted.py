#!/usr/bin/env python3
"""Trains the models of chapters 17 to 19 in the painted world. Each part writes ddpm_lit/assets/painted_PART.safetensors, and its
scores, seconds and command to results/painted.json. On a GPU the same command trains for longer, `vae` and `text` a larger model.
`vae`: pictures to latents and back. `weights`: the same for fewer steps and several weights of the KL; writes no model. `text`: words
to latents. `pooled`: the same, but the network sees a caption as one vector. `clip`: an encoder of captions and pictures. `prior`: from a
caption's embedding to a picture's. `decoder`: from there to latents. Each needs those before it, `weights` and `pooled` excepted."""
import argparse, json, random, tempfile, time
from dataclasses import replace
from pathlib import Path
import torch
from ddpm_lit import unclip
from ddpm_lit.latent import VAE, Judge, PaintedWorld, draw_scenes, load_network, paintings, save_network, scores, train_vae, unit_scale, vae_terms
from ddpm_lit.text import TextConfig, TextTrainer, TextUNet, alignment, captions, load_painter, tokenize
from ddpm_lit.training import TrainConfig
from measure import ROOT, command, keep, record


def pictures(n, seed=7):
    "Held-out scenes with unseen garments, alone and in pairs: `{name: (Scenes, pictures)}`."
    world, found = PaintedWorld('test'), {}
    for name, pairs in (('alone', 0.), ('pairs', 1.)):
        g = torch.Generator().manual_seed(seed)
        scenes = draw_scenes(n, seen=False, pairs=pairs, generator=g)
        found[name] = scenes, world.paint(scenes, g)
    return found

@torch.no_grad()
def quality(vae, n, device):
    "Mean square error, KL, and what the judge reads in real and in reconstructed pictures; each with its standard error."
    judge, found = Judge(), {}
    for name, (scenes, x) in pictures(n).items():
        g = torch.Generator(device).manual_seed(0)
        square, kl, again = [], [], []
        for part in x.to(device).split(250):
            noise = torch.randn(len(part), vae.latent, 8, 8, generator=g, device=device)
            for a, b in zip((square, kl), vae_terms(vae, part, noise)): a.append(b.cpu())
            again.append(vae.pictures(vae.latents(part, g)).cpu())
        def mean(v): v = torch.cat(v); return v.mean().item(), v.std().item()/len(v)**.5
        found[name] = dict(n=n, square=mean(square), kl=mean(kl), real=scores(scenes, judge(x)), again=scores(scenes, judge(torch.cat(again))))
    return found

@torch.no_grad()
def latent_statistics(vae, device, n=1000):
    "The scale, and of each channel: standard deviation of z, and nats per picture."
    g = torch.Generator().manual_seed(1)
    mean, log_var = vae.encode(PaintedWorld('train').paint(draw_scenes(n, generator=g), g).to(device))
    var = log_var.exp()
    sd = (mean.var((0, 2, 3)) + var.mean((0, 2, 3))).sqrt()
    kl = .5*(mean**2 + var - 1 - log_var).sum((2, 3)).mean(0)
    return unit_scale(mean, log_var), dict(sd=sd.tolist(), kl=kl.tolist(), mean=mean.mean((0, 2, 3)).tolist())

def trained(args, beta, steps):
    "A VAE and the processor seconds of its training."
    torch.manual_seed(args.seed)
    generator, world, _ = torch.Generator().manual_seed(args.seed), PaintedWorld('train'), Judge()    # which draws weights, too
    start = time.process_time()
    def each(n, square, kl):
        if n % 200 == 0 or n == steps:
            print(f'{n} steps: mean square {square.mean():.4f}, KL {kl.mean():.0f} nats, {time.process_time() - start:.0f} s', flush=True)
    vae = train_vae(VAE(args.width, args.latent), world, steps, beta, generator=generator, device=args.device, each=each)
    return vae, time.process_time() - start

def vae(args, path, head):
    ship_vae(*trained(args, args.beta, args.steps), args, path, head)

def ship_vae(vae, seconds, args, path, head):
    "The scale, the file, and the scores of what the file holds."
    vae.scale, channels = latent_statistics(vae, args.device)
    save_network(vae, args.file, command=head['command'])
    found = quality(load_network(VAE, args.file, args.device), args.n, args.device)
    print(found)
    keep(path, 'vae', 'vae', dict(beta=args.beta, steps=args.steps, seconds=round(seconds, 1), scale=vae.scale,
         parameters=sum(p.numel() for p in vae.parameters()), channels=channels, **found), head)

def weights(args, path, head):
    for beta in args.betas:
        vae, seconds = trained(args, beta, args.steps)
        vae.scale, channels = latent_statistics(vae, args.device)
        found = quality(vae, args.n, args.device)
        print(beta, found, flush=True)
        keep(path, 'weights', f'{beta:g}', dict(beta=beta, steps=args.steps, seconds=round(seconds, 1), scale=vae.scale, channels=channels, **found), head)

def fit(trainer, start):
    "The averaged weights at the end, and the processor seconds since `start`."
    def each():
        if trainer.n % trainer.config.log_every == 0:
            print(f"{trainer.n} steps: loss {trainer.rows[-1]['loss']:.4f}, {time.process_time() - start:.0f} s", flush=True)
    trainer.fit(progress=False, each=each)
    return trainer.average.model.cpu(), time.process_time() - start

def reader(args, pooled=False):
    "A network that paints from words, and the processor seconds of its training."
    torch.manual_seed(args.seed)
    config = TrainConfig(model=TextConfig(channels=args.width, pooled=pooled), steps=args.steps, lr=2e-3, warmup=200, batch_size=args.batch,
                         log_every=200, checkpoint_every=10**9, seed=args.seed)
    rng, generator, start = random.Random(args.seed), torch.Generator().manual_seed(args.seed), time.process_time()
    loader = paintings(PaintedWorld('train'), args.batch, generator, label=lambda scenes: captions(scenes, rng, empty=.1), pairs=.65)
    trainer = TextTrainer(config, TextUNet(config.model), loader, load_network(VAE, 'painted_vae', args.device), device=args.device)
    return fit(trainer, start)

def text(args, path, head, pooled=False):
    model, seconds = reader(args, pooled)
    save_network(model, args.file, command=head['command'])
    found = {f"{'pairs' if pairs else 'alone'}, {'seen' if seen else 'unseen'}": alignment(args.n, 3., 30, seen, pairs, painter=load_painter(args.file))
             for pairs in (0., 1.) for seen in (True, False)}
    for k, v in found.items(): print(k, v)
    keep(path, 'text', 'pooled' if pooled else 'text', dict(steps=args.steps, seconds=round(seconds, 1),
         parameters=sum(p.numel() for p in model.parameters()), guidance=3., n=args.n, **found), head)

def pooled(args, path, head): text(args, path, head, pooled=True)

def seeded(seed): return torch.Generator().manual_seed(seed)

def ship(net, seconds, args, path, head, **about):
    "The file of one of the three networks of chapter 19, and what is known of its training."
    about = dict(about, steps=args.steps, batch=args.batch, seconds=round(seconds, 1), parameters=sum(p.numel() for p in net.parameters()))
    save_network(net, args.file, about=json.dumps(about | dict(command=head['command'])))
    keep(path, args.what, args.what, about, head)

def clip(args, path, head):
    torch.manual_seed(args.seed)
    losses, start = [], time.process_time()
    def each(n, loss):
        losses.append(loss)
        if n % 100 == 0: print(f'{n} steps: loss {torch.stack(losses[-100:]).mean():.4f}, {time.process_time() - start:.0f} s', flush=True)
    batches = unclip.captioned(PaintedWorld('train'), args.batch, generator=seeded(args.seed))
    net = unclip.train_clip(unclip.CLIP(), batches, args.steps, device=args.device, each=each).cpu()
    ship(net, time.process_time() - start, args, path, head, loss=torch.stack(losses[-100:]).mean().item(), kappa=net.kappa.item())

def prior(args, path, head):
    torch.manual_seed(args.seed)
    start, config = time.process_time(), replace(unclip.PRIOR, seed=args.seed, steps=args.steps, batch_size=args.batch)
    batches = unclip.captioned(PaintedWorld('train'), 1000, generator=seeded(args.seed))
    pairs = unclip.embedded_pairs(load_network(unclip.CLIP, 'painted_clip'), batches, args.batch, generator=seeded(args.seed + 1))
    trainer = unclip.PriorTrainer(config, unclip.PriorNet(), pairs)
    ship(*fit(trainer, start), args, path, head, loss=trainer.rows[-1]['loss'])

def decoder(args, path, head):
    torch.manual_seed(args.seed)
    clip, reader, start = load_network(unclip.CLIP, 'painted_clip'), load_painter().denoise.model, time.process_time()
    scenes, x, _ = next(unclip.captioned(PaintedWorld('train'), 4000, generator=seeded(args.seed + 2)))
    plainest = [unclip.plain(*row) for row in zip(scenes.garments[:, 0].tolist(), scenes.colours[:, 0].tolist(), scenes.grounds.tolist())]
    net = unclip.from_text(reader, clip, x, torch.stack([tokenize(words) for words in plainest]))
    config = replace(unclip.DECODER, model=net.config, seed=args.seed, steps=args.steps, batch_size=args.batch)
    batches = unclip.captioned(PaintedWorld('train'), args.batch, generator=seeded(args.seed))
    pairs = unclip.embedded_paintings(clip, batches, seeded(args.seed + 1))
    trainer = TextTrainer(config, net, pairs, load_network(VAE, 'painted_vae'), device=args.device)
    ship(*fit(trainer, start), args, path, head, loss=trainer.rows[-1]['loss'])

PARTS = dict(vae=vae, weights=weights, text=text, pooled=pooled, clip=clip, prior=prior, decoder=decoder)
SIZES = dict(vae=dict(cpu=dict(width=32, steps=2500, n=2000), cuda=dict(width=64, steps=20_000, n=2000)),
             weights=dict(cpu=dict(width=32, steps=300, n=2000), cuda=dict(width=64, steps=5000, n=2000)),
             text=dict(cpu=dict(width=64, steps=9000, batch=64, n=500), cuda=dict(width=128, steps=40_000, batch=256, n=500)),
             pooled=dict(cpu=dict(width=64, steps=9000, batch=64, n=500), cuda=dict(width=128, steps=40_000, batch=256, n=500)),
             clip=dict(cpu=dict(steps=600, batch=256), cuda=dict(steps=3000, batch=1024)),
             prior=dict(cpu=dict(steps=2500, batch=256), cuda=dict(steps=10_000, batch=1024)),
             decoder=dict(cpu=dict(steps=1000, batch=64), cuda=dict(steps=5000, batch=256)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=list(PARTS))
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--seed', default=0, type=int, help='of weights, pictures and noise')
    parser.add_argument('--steps', type=int, help='of the training; without it, what suits the device')
    parser.add_argument('--width', type=int, help='channels of the model; without it, what suits the device')
    parser.add_argument('--batch', type=int, help='pictures a step; without it, what suits the device')
    parser.add_argument('--latent', default=8, type=int, help='channels of the latents')
    parser.add_argument('--beta', default=1e-3, type=float, help='weight of the KL')
    parser.add_argument('--betas', default=[1e-4, 1e-3, 1e-2, 1e-1], type=float, nargs='+', help='for `weights`')
    parser.add_argument('--n', type=int, help='pictures of each kind to be scored')
    parser.add_argument('--file', help='where the model goes (ddpm_lit/assets/painted_PART.safetensors)')
    parser.add_argument('--out', help='where the JSON goes (results/painted.json)')
    parser.add_argument('--quick', action='store_true', help='seconds instead of minutes; writes nothing unless --out or --file is given')
    args = parser.parse_args()
    head = record(args, parser)
    for k, v in SIZES[args.what][args.device.split(':')[0]].items():
        if getattr(args, k) is None: setattr(args, k, v)
    if args.quick: args.steps, args.n, args.betas = 3, 50, args.betas[:2]
    path = Path(args.out) if args.out else None if args.quick else ROOT/'results'/'painted.json'
    args.file = args.file or (Path(tempfile.mkdtemp()) if args.quick else ROOT/'ddpm_lit'/'assets')/f'painted_{args.what}.safetensors'
    PARTS[args.what](args, path, head)

if __name__ == '__main__': main()
