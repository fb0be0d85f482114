#!/usr/bin/env python3
"""Write nbs/benchmarks.md from results/race_*.json, quality_*.json and tricks_*.json; no figure on it comes from elsewhere.

usage: page.py           write the page
       page.py --check   exit with 1 if it is stale
"""
import json, statistics, sys
from itertools import groupby
from pathlib import Path
from ddpm_lit.viz import write_atomic

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT/'nbs/benchmarks.md', ROOT/'results'
OURS = 'ddpm_lit'
DISCIPLINES = dict(training='training', ddim='DDIM', ancestral='ancestral')
TRICKS = dict(channels_last='images and weights channels-last', bf16='autocast to bfloat16', fused_optimizer='fused AdamW', fused_ema='average of the weights in one fused call',
              data_on_device='images kept on the device', no_item='no look at the loss in every step', compiled='torch.compile')

HEAD = """---
title: How fast, and how good
description: This package raced against diffusers and denoising-diffusion-pytorch, with the same images, networks of equal size and the same machine, and what each trick of the trainer is worth.
---

Three libraries that train the same kind of model are raced here: this one, [diffusers](https://github.com/huggingface/diffusers) and [denoising-diffusion-pytorch](https://github.com/lucidrains/denoising-diffusion-pytorch). Each comes as it is published. A table shows the median, and in brackets the quartiles, over rounds in which all take turns in one process; a ratio is taken within each round, so that what slows the machine for a while slows both sides of it."""

FOOT = """## What is comparable

- **Networks.** diffusers' `UNet2DModel` is built to be our U-Net: the same levels, the same attention, the same number of parameters. `Unet` of denoising-diffusion-pytorch is another network; its width is chosen so that the parameters agree within 5 %, and the floating-point operations of one forward pass stand beside it.
- **Loops.** diffusers: the loop of its example `train_unconditional.py` (noise prediction, linear schedule, AdamW, cosine rate with warm-up, clipped gradients, averaged weights). denoising-diffusion-pytorch: the step of its `Trainer` (v-prediction, sigmoid schedule, Adam, clipped gradients, averaged weights). Both without accelerate, which could only cost time. Ours: `Trainer.step` as `ddpm_lit_train` takes it.
- **Images.** All read from our loader, on the device. What the peers' own reading of image files costs is left out, in their favour.
- **Number formats.** Both peers document fp32 as their default and mixed precision as an option; both are raced. Ours picks what the device does well, and is raced in fp32 as well.
- **Sampling.** Each library's own samplers with the averaged weights, under autocast where the training was. denoising-diffusion-pytorch has ancestral sampling in fewer steps only as its DDIM with η = 1, so that is what it runs. Ours gives every image a random generator of its own, so that an image does not depend on the batch it is in; the time for that counts.
- **Quality.** Equal wall-clock time for training alone; scores in the features of [chapter 11](11_evaluation.ipynb)'s classifier, which are not comparable with published FIDs. Prediction target and noise schedule are each library's own, so this compares recipes as much as code. A peer runs in the faster of its formats, at its documented learning rate and at ours. Schedules of the learning rate are cut to the number of steps that a short test says will fit.

To repeat it: `pip install -e ".[bench]"`, the commands above, then `python benchmarks/page.py`."""


def load(kind, device, results):
    path = results/f'{kind}_{device}.json'
    return json.loads(path.read_text()) if path.exists() else None

def table(head, rows):
    line = lambda cells: '| ' + ' | '.join(cells) + ' |'
    return '\n'.join([line(head), line(['---'] + ['---:']*(len(head) - 1)), *map(line, rows)])

def number(x): return f'{x:,.0f}' if abs(x) >= 100 else f'{x:.3g}'
def times(x): return f'{x:.2f}'
def spread(s, form=number): return f"{form(s['median'])} ({form(s['q1'])} to {form(s['q3'])})"
def ratio_of(ratios, a, b): return next((r for r in ratios if (r['a'], r['b']) == (a, b)), None)

def verdict(r):
    "Won, lost or even, by the quartiles of a ratio."
    return 'won' if r['q1'] > 1 else 'lost' if r['q3'] < 1 else 'even'

def where(d):
    "Machine, versions and command of one JSON."
    m, v = d['machine'], d['versions']
    gpu = '' if m['device'].startswith('cpu') else f"{m['device']}, "
    return (f"*{gpu}CPU {m['cpu']}, {m['threads']} threads; Python {m['python']}; {', '.join(f'{k} {x}' for k, x in v.items() if x)}; "
            f"seed {d['seed']}" + (f"; commit {d['commit']}" if d['commit'] else '') + f".* `{d['command']}`")

def absent(d): return 'Could not be run here: ' + ', '.join(d['missing']) + '.\n\n' if d['missing'] else ''


def race(d):
    s, ran = d['setting'], [k for k in DISCIPLINES if k in d]
    def row(name, c):
        cells = [spread(d[k]['images_per_s'][name]) if name in d[k]['images_per_s'] else '' for k in ran]
        t = d['training']['images_per_s'].get(name) if 'training' in d else None
        share = f"{3*c['flops']*t['median']/d['ceiling'][c['dtype']]/1e12:.1%}" if t else ''
        return [name, f"{c['parameters']:,}", f"{c['flops']/1e6:,.1f}", *cells, share]
    rows = [row(n, c) for n, c in d['contestants'].items()]
    head = ['', 'parameters', 'MFLOP, forward', *(f'{DISCIPLINES[k]}, images/s' for k in ran), 'of the ceiling']
    pairs = list(dict.fromkeys((r['a'], r['b']) for k in ran for r in d[k]['ratios']))
    def cell(k, a, b): return spread(r, times) if (r := ratio_of(d[k]['ratios'], a, b)) else ''
    ceiling = ', '.join(f'{x:g} TFLOP/s in {t}' for t, x in d['ceiling'].items())
    walks = [f"{DISCIPLINES[k]}: {d[k]['n']} images at a time in {d[k]['steps']} steps" for k in ran if k != 'training']
    return f"""### Speed

U-Nets of the size `{s['size']}`, {s['data']} at {s['image_size']}×{s['image_size']}, batch {s['batch']}. {'; '.join(walks)}. The ceiling is what a large matrix product reaches here: {ceiling}; a training step is counted as three forward passes.

{table(head, rows)}

How many times as fast as the second is the first?

{table(['', *(DISCIPLINES[k] for k in ran)], [[f'{a} / {b}', *(cell(k, a, b) for k in ran)] for a, b in pairs])}

{absent(d)}{where(d)}"""

def wins(d):
    "The ratios of our default and of our fp32 against the peers in like formats, as three lists."
    lists = dict(won=[], lost=[], even=[])
    for k in DISCIPLINES:
        for r in d.get(k, {}).get('ratios', []):
            a, b = (d['contestants'][r[x]] for x in 'ab')
            if b['library'] != OURS and 'compiled' not in r['a'] and a['dtype'] == b['dtype']:
                lists[verdict(r)].append(f"{DISCIPLINES[k]} against {r['b']} ({r['median']:.2f} times as fast)")
    titles = dict(won='Ours is faster in like formats', lost='Ours is slower in like formats', even='Quartiles on both sides of even')
    return '\n'.join(f"- **{titles[v]}:** {'; '.join(x)}." for v, x in lists.items() if x)


def groups(runs):
    "`{(budget, library, lr): runs}`, one for each seed."
    key = lambda r: (r['budget'], r['library'] != OURS, r['library'], r['lr'])
    return {(k[0], k[2], k[3]): list(g) for k, g in groupby(sorted(runs, key=key), key)}

def scored(runs, which):
    "Mean over seeds of one score, and its uncertainty: from the seeds if there are three or more, else as the score states it."
    values = [s for r in runs for s in r['scores'] if s['name'] == which]
    mean = statistics.fmean(s['value'] for s in values)
    error = statistics.stdev(s['value'] for s in values)/len(values)**.5 if len(values) > 2 else statistics.fmean(s['spread'] for s in values)
    return mean, error

def quality(d):
    s, by = d['setting'], groups(d['runs'])
    best = {}
    for (budget, library, lr), runs in by.items():
        if (budget, library) not in best or scored(runs, 'FD')[0] < scored(by[budget, library, best[budget, library]], 'FD')[0]: best[budget, library] = lr
    def row(key, runs):
        budget, library, lr = key
        fd, kd = (scored(runs, k) for k in ('FD', 'KD'))
        bold = '**' if best[budget, library] == lr else ''
        precision = {'bfloat16': 'bf16', 'float32': 'fp32'}[runs[0]['dtype']]
        steps = statistics.fmean(r['steps'] for r in runs)
        return [f'{budget:g} s', f'{bold}{library}{bold}', precision, f'{lr:g}', f'{steps:,.0f}', f"{steps*s['batch']:,.0f}", f'{bold}{fd[0]:.2f} ± {fd[1]:.2f}{bold}', f'{kd[0]:.3f} ± {kd[1]:.3f}']
    floor = {k: statistics.fmean(x['floor'] for r in d['runs'] for x in r['scores'] if x['name'] == k) for k in ('FD', 'KD')}
    lines = []
    for budget in dict.fromkeys(k[0] for k in by):
        for library in dict.fromkeys(k[1] for k in by if k[0] == budget and k[1] != OURS):
            (a, da), (b, db) = (scored(by[budget, name, best[budget, name]], 'FD') for name in (OURS, library))
            apart = abs(a - b) > 2*(da**2 + db**2)**.5
            word = 'better than' if apart and a < b else 'worse than' if apart else 'not to be told from'
            lines.append(f'- After {budget:g} s ours is {word} {library} at its better learning rate: {a:.2f} against {b:.2f}.')
    seeds = sorted({r['seed'] for r in d['runs']})
    return f"""### Quality at equal time

Fréchet (FD) and kernel (KD) distance of {s['n']:,} images, drawn in {s['steps']} steps of each library's DDIM, to the {s['images']:,} training images; lower is better. As many real images score FD {floor['FD']:.2f} and KD {floor['KD']:.3f}. Size `{s['size']}` at {s['image_size']}×{s['image_size']}, batch {s['batch']}; {f'one run each, seed {seeds[0]}' if len(seeds) == 1 else f"means over the seeds {', '.join(map(str, seeds))}"}; ± is {'the spread over the images drawn, not over runs' if len(seeds) < 3 else 'the standard error over the seeds'}. Bold: the learning rate of each library that scores better here.

{table(['training', 'library', 'format', 'learning rate', 'steps', 'images seen', 'FD', 'KD'], [row(k, runs) for k, runs in by.items()])}

{chr(10).join(lines)}

{absent(d)}{where(d)}"""


def tricks(d):
    s, l = d['setting'], d['ladder']
    previous, plain = ({r['a']: r for r in l[k]} for k in ('to_previous', 'to_plain'))
    def row(name):
        speed = spread(l['images_per_s'][name])
        words = '+ ' + TRICKS[name[2:]] if name[:2] == '+ ' else 'plain loop' if name == 'plain' else f'`{name}`'
        return [words, speed, *(spread(r[name], times) if name in r else '' for r in (previous, plain))]
    text = f"""### What each trick of the trainer gains

The plain loop trains in fp32 with a `DataLoader` on the host and goes through the weights one by one; each row adds one trick to the row above, and the last is the trainer itself, which here takes {d['fast_path'][0]} in the layout {d['fast_path'][1]}. Size `{s['size']}` at {s['image_size']}×{s['image_size']}, batch {s['batch']}.{f" Compiling took {d['compile_seconds']:.0f} s." if 'compile_seconds' in d else ''}

{table(['', 'images/s', 'times the row above', 'times the plain loop'], [row(n) for n in l['images_per_s']])}"""
    if a := d.get('attention'):
        text += (f"\n\nFused attention (`scaled_dot_product_attention`) against the formula written out, on queries of shape {'×'.join(map(str, a['shape']))} in {a['dtype']}: "
                 f"{spread(a['alone'], times)} times as fast alone, {spread(a['training'], times)} times in the whole training step.")
    if f := d.get('fit'):
        r, save = {(x['a'], x['b']): x for x in f['ratios']}, f['checkpoint_seconds']['median']
        text += (f"\n\n`Trainer.fit`, with new data, noise, averaging, clipping and a log every {f['log_every']} steps, runs at {spread(r['Trainer.fit', 'bare step'], times)} times the speed "
                 f"of forward, backward and optimiser alone on one fixed batch; `Trainer.step`, without the log, at {spread(r['Trainer.step', 'bare step'], times)}. "
                 f"A checkpoint, every {f['checkpoint_every']} steps, takes {save:.2f} s.")
    return f'{text}\n\n{where(d)}'


def page(results):
    parts = [HEAD]
    for device, title in (('cuda', 'On a GPU'), ('cpu', 'On a CPU')):
        found = {kind: d for kind in ('race', 'quality', 'tricks') if (d := load(kind, device, results))}
        if not found: continue
        parts.append(f'## {title}')
        if 'race' in found: parts += [wins(found['race']), race(found['race'])]
        if 'quality' in found and found['quality']['runs']: parts.append(quality(found['quality']))
        if 'tricks' in found: parts.append(tricks(found['tricks']))
    if len(parts) == 1: sys.exit('no results yet: run race.py, quality.py and tricks.py first')
    return '\n\n'.join([*parts, FOOT]) + '\n'

def main():
    text = page(RESULTS)
    if '--check' in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text: sys.exit('nbs/benchmarks.md is stale: run python benchmarks/page.py')
    else: write_atomic(PAGE, text.encode())

if __name__ == '__main__': main()
