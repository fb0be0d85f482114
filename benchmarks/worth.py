#!/usr/bin/env python3
"""What each part of the trainer is worth: the same small training with one part taken away at a time, at the usual learning rate
and at one that is too high, for several seeds. Writes ddpm_lit/assets/training_worth.json, which chapter 09 shows."""
import argparse, json, statistics, time
from dataclasses import asdict, replace
from pathlib import Path
import torch
from ddpm_lit.data import DeviceLoader, load_images
from ddpm_lit.training import Probe, TrainConfig, Trainer, probe_losses
from ddpm_lit.unet import UNet, UNetConfig


class Independent(Trainer):
    "Times drawn one by one instead of evenly spread ones."
    def draw(self, x, part=0, parts=1):
        t, noise, lost = super().draw(x, part, parts)
        return torch.randint(1, self.config.T + 1, t.shape, generator=self.generator), noise, lost

WITHOUT = {'nothing': (Trainer, {}), 'even times': (Independent, {}), 'warm-up': (Trainer, dict(warmup=1)),
           'clipping': (Trainer, dict(clip=1e9)), 'warm-up and clipping': (Trainer, dict(warmup=1, clip=1e9))}


def one(without, config, train, test):
    "Losses on the fixed set after one training: of the averaged weights and of the last ones; and how much the batches' losses vary."
    kind, changes = WITHOUT[without]
    c = replace(config, **changes)
    torch.manual_seed(c.seed)
    trainer = kind(c, UNet(c.model), DeviceLoader(train, c.batch_size, seed=c.seed))
    probe = Probe.make(test, trainer.schedule, n=1000)
    rows = []
    for _ in range(c.steps):
        trainer.step()
        rows.append(trainer.sums[0].item())
        trainer.sums.zero_()
    average, raw = (probe_losses(m.eval(), trainer.schedule, probe, c.prediction).mean().item() for m in (trainer.average.model, trainer.model))
    late = rows[len(rows)//2:]
    return dict(average=average, raw=raw, jitter=statistics.pstdev(b - a for a, b in zip(late, late[1:]))/2**.5)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--steps', type=int, default=100); p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--rates', type=float, nargs='+', default=[1.5e-3, 1e-2]); p.add_argument('--quick', action='store_true')
    a = p.parse_args()
    if a.quick: a.steps, a.seeds, a.rates = 3, 1, [1.5e-3]
    base = TrainConfig(model=UNetConfig.named('tiny', image_size=8), steps=a.steps, batch_size=32, warmup=30)
    train, test = (load_images('fashion-12k', split, 8) for split in ('train', 'test'))
    start, runs = time.process_time(), []
    for lr in a.rates:
        for seed in range(a.seeds):
            for without in WITHOUT:
                runs.append(dict(without=without, lr=lr, seed=seed) | one(without, replace(base, lr=lr, seed=seed), train, test))
                print(json.dumps(runs[-1]), flush=True)
    about = dict(command=' '.join(['python benchmarks/worth.py', *(['--quick'] if a.quick else [])]), torch=torch.__version__,
                 cpu_s=round(time.process_time() - start), config=asdict(base))
    if not a.quick:
        path = Path(__file__).resolve().parents[1]/'ddpm_lit/assets/training_worth.json'
        path.write_text(json.dumps(about | dict(runs=runs), indent=1) + '\n')

if __name__ == '__main__': main()
