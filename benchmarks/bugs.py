#!/usr/bin/env python3
"""What the mistakes of chapter 20 do to garments: results/bugs.json. For a mistake of training, a small U-Net is trained with the
right and with the wrong code from the same weights, times and noise; for a mistake of sampling, the model in the package draws
garments with both. The Fréchet distance of N samples to 4000 training images, in the features of the shipped classifier, stands
beside pictures and loss curves; `floor` measures the same for real garments, of random classes and with all classes equally
often, as the model in the package draws them. What is in the file is not measured again, and several calls, --part I/M, may share it."""
import argparse, json
from pathlib import Path
import torch
from ddpm_lit.bugs import MUSEUM, _png, planted, shipped, last
from ddpm_lit.data import DeviceLoader, load_images
from ddpm_lit.evaluation import compare, distances_to, draw_like, features
from ddpm_lit.sampling import ddim, start_noise
from ddpm_lit.training import TrainConfig, Trainer
from ddpm_lit.unet import UNet, UNetConfig
from ddpm_lit.viz import image_grid, pixels, to_uint8
from measure import ROOT, record, update

NET = UNetConfig(image_size=16, in_channels=1, mults=(1, 1, 2), attn=())      # 0.76 million parameters


def train(settings, steps, seed, images):
    "A U-Net trained with the settings of an exhibit; the Denoiser, and the loss curve."
    size = dict(steps=steps, batch_size=16, lr=2e-3, warmup=max(1, steps//8), ema=.99, log_every=max(1, steps//20), dtype='float32')
    settings = {k: v for k, v in settings.items() if k not in ('steps', 'T')}
    if 'gamma' in settings: settings['gamma'] = 5.                            # as for images
    config = TrainConfig(model=NET, seed=seed, **size | settings)
    torch.manual_seed(seed)
    trainer = Trainer(config, UNet(NET), DeviceLoader(images, 16, seed=seed))
    trainer.fit(progress=False)
    return trainer.denoiser(), [round(row['loss'], 4) for row in trainer.rows]

def draw(denoise, n):
    x_T, _ = start_noise((1, 16, 16), range(n), 3)
    return torch.cat([last(ddim(denoise, x, 10)) for x in x_T.split(80)])

def run(exhibit, wrong, args, images):
    "Samples and loss curve of an exhibit with the right or the wrong code."
    with planted(*exhibit.plants*wrong):
        settings = getattr(exhibit.experiment, 'unet', None)
        if settings is None: return exhibit.experiment(2, args.n).images, None
        denoise, loss = train(settings, args.steps, args.seed, images)
        return draw(denoise, args.n), loss

def floors(n, held_out, labels, real, draws=40):
    "Fréchet distance of n real garments, the mean and the scatter of some draws, as (of random classes, as many of each class)."
    g, (frechet, _) = torch.Generator().manual_seed(0), distances_to(real)
    def equal():
        order = torch.randperm(len(labels), generator=g)
        return torch.cat([order[labels[order] == k][:n//10] for k in range(10)])
    picks = dict(random=[draw_like(labels, n, g) for _ in range(draws)], equal=[equal() for _ in range(draws)])
    found = {k: torch.tensor(frechet(held_out, p)) for k, p in picks.items()}
    return dict(n=n, draws=draws, **{k: (round(v.mean().item(), 3), round(v.std().item(), 3)) for k, v in found.items()})

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', nargs='?', default='all', choices=('train', 'draw', 'floor', 'all'), help='mistakes of training, of sampling, or real garments')
    parser.add_argument('--n', type=int, default=160, help='garments for each distance')
    parser.add_argument('--steps', type=int, default=250, help='of each training')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu', help='cpu only')
    parser.add_argument('--part', default='0/1', help='I/M: every M-th exhibit, from the I-th on')
    parser.add_argument('--out', default=ROOT/'results/bugs.json', type=Path)
    parser.add_argument('--quick', action='store_true', help='seconds, to see that it runs; writes nothing')
    args = parser.parse_args()
    if args.quick: args.n, args.steps = 160, 4
    head, part = record(args, parser), [int(k) for k in args.part.split('/')]
    train_set, test = (load_images('fashion-12k', s, 16) for s in ('train', 'test'))
    real, held_out, rights = features(train_set.images[:4000]), features(test.images), {}
    saved = json.loads(args.out.read_text()) if args.out.exists() and not args.quick else {}
    if args.what in ('floor', 'all') and 'floor' not in saved:
        print('real garments:', found := floors(args.n, held_out, test.labels, real))
        if not args.quick: update(args.out, lambda result: result.update(floor=found | dict(commit=head['commit'])))
    shipped()
    trained = [e for e in MUSEUM.values() if hasattr(e.experiment, 'unet')]
    drawn = [e for e in MUSEUM.values() if e not in trained and e.experiment(2, 1).images is not None]
    wanted = dict(train=trained, draw=drawn, floor=[], all=trained + drawn)[args.what]
    for e in wanted[part[0]::part[1]][:2 if args.quick else None]:
        if e.title in saved.get('exhibits', {}): continue
        unet = hasattr(e.experiment, 'unet')
        key = json.dumps({k: v for k, v in e.experiment.unet.items() if k not in ('steps', 'T')}) if unet else id(e.experiment)
        if key not in rights: rights[key] = run(e, False, args, train_set)
        right, wrong = rights[key], run(e, True, args, train_set)
        fd = {}
        for name, (x, _) in (('right', right), ('wrong', wrong)):
            s = compare(features(to_uint8(x.nan_to_num(0))), held_out, real, test.labels)[0]
            fd[name], floor = (round(s.value, 3), round(s.spread, 3)), (round(s.floor, 3), round(s.floor_spread, 3))
        value = dict(fd=fd, floor=floor)
        if unet:
            both = torch.cat([x[:6] for x, _ in (right, wrong)]).nan_to_num(0)
            value |= dict(garments=_png(pixels(image_grid(both, 6)), 324), loss=dict(right=right[1], wrong=wrong[1]),
                          tile=_png(pixels(image_grid(wrong[0][:6].nan_to_num(0), 3)), 104))
        print(e.title, fd, floor, flush=True)
        if not args.quick: update(args.out, lambda result: result.update(head=head, exhibits=result.get('exhibits', {}) | {e.title: value}))


if __name__ == '__main__': main()
