#!/usr/bin/env python3
"""Write nbs/benchmarks.md from results/race_*.json, quality_*.json, tricks_*.json and fashion_mnist_*.json; no figure of ours
comes from elsewhere.

usage: page.py           write the page
       page.py --check   exit with 1 if it is stale
"""
import json, statistics, sys
from itertools import groupby
from pathlib import Path
from ddpm_lit.data import GARMENTS
from ddpm_lit.runs import write_atomic

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT/'nbs/benchmarks.md', ROOT/'results'
OURS = 'ddpm_lit'
SHORT = dict(bfloat16='bf16', float16='fp16', float32='fp32')
DISCIPLINES = dict(training='training', ddim='DDIM', ancestral='ancestral')
TRICKS = dict(channels_last='images and weights channels-last', fast_format='autocast to the number format of the trainer', fused_optimizer='fused AdamW', fused_ema='average of the weights in one fused call',
              data_on_device='images kept on the device', no_item='no look at the loss in every step', compiled='torch.compile')

PUBLISHED = [("fast.ai, DDPM", 1000, 3.73, 1.91), ("fast.ai, cosine schedule", 100, 3.10, None)]   # FD, real against real: course of 2022, part 2

HEAD = """---
title: How fast, and how good
description: This package raced against diffusers and denoising-diffusion-pytorch, with the same images, networks of equal size and the same machine, and what each trick of the trainer is worth.
---

Three libraries that train the same kind of model are raced here: this one, [diffusers](https://github.com/huggingface/diffusers) and [denoising-diffusion-pytorch](https://github.com/lucidrains/denoising-diffusion-pytorch). Each comes as it is published. A table shows the median, and in brackets the quartiles, over rounds in which all take turns in one process; a ratio is taken within each round, so that what slows the machine for a while slows both sides of it."""

FOOT = """## What is comparable

- **Networks.** diffusers' `UNet2DModel` is built to be our U-Net: the same levels, attention and groups, the same number of parameters. `Unet` of denoising-diffusion-pytorch is another network; its width is chosen so that the parameters agree within 5 %, and the floating-point operations of one forward pass stand beside it.
- **Loops.** diffusers: the loop of its example `train_unconditional.py` (noise prediction, linear schedule, AdamW, cosine rate with warm-up, clipped gradients, averaged weights). "Tuned" adds what its users could still turn on: the fused AdamW, and on a CPU attention written out (`AttnProcessor`), which is faster there. What then remains between its training and ours is of the size of what the memory layout with its group norms gains in the table of tricks. denoising-diffusion-pytorch: the step of its `Trainer` (v-prediction, sigmoid schedule, Adam, clipped gradients, averaged weights). Both without accelerate, which could only cost time. Ours: `Trainer.step` as `ddpm_lit_train` takes it.
- **Images.** All read from our loader, on the device. What the peers' own reading of image files costs is left out, in their favour.
- **Number formats.** Both peers document fp32 as their default and mixed precision as an option; both are raced. Ours picks what the device does well; its training is raced in fp32 as well.
- **Sampling.** Each library's own samplers with the averaged weights, under autocast where the training was. denoising-diffusion-pytorch has ancestral sampling in fewer steps only as its DDIM with η = 1, so that is what it runs. Ours gives every image a random generator of its own, so that an image does not depend on the batch it is in; the time for that counts.
- **Quality.** All contestants of a round train by turns, a second at a time, until each has spent the same time on training; on a CPU that is processor time, so that other programs count little. A peer runs in the faster of its formats (diffusers tuned) and at the learning rate that served it best in the table of trials; the documented rate is among those tried. Raw and averaged weights are both scored, since an average made for long runs lags behind in a short one. Schedules of the learning rate are cut to the number of steps that a short test says will fit. Prediction target and noise schedule are each library's own, so this compares recipes as much as code. Scores in the features of [chapter 12](12_evaluation.ipynb)'s classifier are not comparable with published FIDs.

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

U-Nets of the size `{s['size']}`, {s['data']} at {s['image_size']}×{s['image_size']}, batch {s['batch']}. {'; '.join(walks)}. The ceiling is what a large matrix product reaches here: {ceiling}; a training step is counted as three forward passes. A share above 100 % is possible, since some algorithms for convolutions need fewer operations than are counted.

{table(head, rows)}

How many times as fast as the second is the first?

{table(['', *(DISCIPLINES[k] for k in ran)], [[f'{a} / {b}', *(cell(k, a, b) for k in ran)] for a, b in pairs])}

{absent(d)}{where(d)}"""

def wins(d):
    "What the ratios mean, for each peer: in one format, as documented and tuned, and as each comes."
    who = d['contestants']
    ours = next(iter(who))
    def told(pairs):
        "For each discipline the ratios of these pairs that were measured."
        parts = {DISCIPLINES[k]: ', '.join(f"{times(r['median'])} ({b.removeprefix(who[b]['library']).strip()})" for a, b in pairs if (r := ratio_of(d[k]['ratios'], a, b))) for k in DISCIPLINES if k in d}
        return '; '.join(f'{k} {v}' for k, v in parts.items() if v)
    lines = []
    for peer in dict.fromkeys(c['library'] for c in who.values() if c['library'] != OURS):
        same = [(a, b) for b in who for a in who if who[b]['library'] == peer and who[a]['library'] == OURS and who[a]['dtype'] == who[b]['dtype'] and 'compiled' not in a]
        come = [(ours, b) for _, b in same if who[b]['dtype'] == 'float32' and 'tuned' not in b]
        lines.append(f"- **Times as fast as {peer}, both in one number format:** {told(same)}. **As each comes**, ours in {SHORT[who[ours]['dtype']]}, {peer} in fp32: {told(come)}.")
    return '\n'.join(lines)


def mean(values): return statistics.fmean(values)

def scored(runs, kind, which='FD'):
    "Mean over seeds of one score, and its standard error: from the seeds if there are three or more, else as the score states it."
    values = [s for r in runs for s in r['scores'][kind] if s['name'] == which]
    error = statistics.stdev(s['value'] for s in values)/len(values)**.5 if len(values) > 2 else mean(s['spread'] for s in values)
    return mean(s['value'] for s in values), error

def quality(d):
    s, runs = d['setting'], [r for r in d['runs'] if r['part'] == 'race']
    key = lambda r: (r['budget'], r['library'] != OURS, r['library'])
    by = {(k[0], k[2]): list(g) for k, g in groupby(sorted(runs, key=key), key)}
    best = {k: min(('averaged', 'raw'), key=lambda kind: scored(of, kind)[0]) for k, of in by.items()}
    def row(k, of):
        steps = mean(r['steps'] for r in of)
        fd = {kind: plus_minus(*scored(of, kind), 2) for kind in ('averaged', 'raw')}
        fd[best[k]] = f'**{fd[best[k]]}**'
        seconds = [r['seconds'] for r in of]
        return [k[1], f'{min(seconds):.1f} to {max(seconds):.1f} s', SHORT[of[0]['dtype']], f"{of[0]['lr']:g}", f'{steps:,.0f}', f"{steps*s['batch']:,.0f}",
                fd['averaged'], fd['raw'], plus_minus(*scored(of, best[k], 'KD'), 3)]
    floor = {k: mean(x['floor'] for r in runs for x in r['scores']['raw'] if x['name'] == k) for k in ('FD', 'KD')}
    lines = []
    for budget, library in by:
        if library == OURS: continue
        (a, da), (b, db) = (scored(by[budget, name], best[budget, name]) for name in (OURS, library))
        apart = abs(a - b) > 2*(da**2 + db**2)**.5
        word = 'better than' if apart and a < b else 'worse than' if apart else 'not to be told from'
        lines.append(f'- After {budget:g} s ours is {word} {library}, each with the better of its weights: {a:.2f} ± {da:.2f} against {b:.2f} ± {db:.2f}.')
    pilot = [r for r in d['runs'] if r['part'] == 'pilot']
    rates = sorted({r['lr'] for r in pilot})
    def tried(library, lr): return ''.join(f"{min(x[0]['value'] for x in r['scores'].values()):.2f}" for r in pilot if (r['library'], r['lr']) == (library, lr))
    seeds, unit = sorted({r['seed'] for r in runs}), 'of processor time' if d['machine']['device'].startswith('cpu') else ''
    return f"""### Quality at equal time

Fréchet (FD) and kernel (KD) distance of {s['n']:,} images, drawn in {s['steps']} steps of each library's DDIM, to the {s['images']:,} training images; lower is better. As many real images score FD {floor['FD']:.2f} and KD {floor['KD']:.3f}. Size `{s['size']}` at {s['image_size']}×{s['image_size']}, batch {s['batch']}. Means over the seeds {', '.join(map(str, seeds))}; ± is {'the spread over the images drawn, not over runs' if len(seeds) < 3 else 'the standard error over the seeds'}. Bold: raw or averaged weights, whichever score better. The seconds {unit} are those of the training steps, from the shortest run to the longest.

{table(['', 'training', 'format', 'learning rate', 'steps', 'images seen', 'FD, averaged weights', 'FD, raw weights', 'KD of the better'], [row(k, of) for k, of in by.items()])}

{chr(10).join(lines)}

The learning rates were chosen from these, by the FD after {min(s['budgets']):g} s with another seed, the better of the raw and the averaged weights:

{table(['', *(f'{lr:g}' for lr in rates)], [[lib, *(tried(lib, lr) for lr in rates)] for lib in dict.fromkeys(r['library'] for r in pilot)])}

{absent(d)}{where(d)}"""


def tricks(d):
    s, l = d['setting'], d['ladder']
    previous, plain = ({r['a']: r for r in l[k]} for k in ('to_previous', 'to_plain'))
    names = {'plain': 'plain loop', 'contiguous': 'not compiled, default layout', 'fast_norms': f"not compiled, group norms in {d['fast_path'][0]}"}
    names |= {f'{k}, compiled': v.removeprefix('not ') for k, v in names.items()}
    def words(name): return '+ ' + TRICKS[name[2:]] if name[:2] == '+ ' else names.get(name, f'`{name}`')
    def row(name):
        r = previous.get(name)
        return [words(name), spread(l['images_per_s'][name]), *([spread(r, times), words(r['b'])] if r else ['', '']), spread(plain[name], times) if r else '']
    text = f"""### What each trick of the trainer gains

The plain loop trains in fp32 with a `DataLoader` on the host and goes through the weights one by one; each row with a + adds one trick to the row above. The rows without take one of them back, compiled and not; the last is the trainer itself, which here takes {d['fast_path'][0]} in the layout {d['fast_path'][1]}. Size `{s['size']}` at {s['image_size']}×{s['image_size']}, batch {s['batch']}.{f" Compiling took {d['compile_seconds']:.0f} s." if 'compile_seconds' in d else ''}

{table(['', 'images/s', 'times as fast', 'as', 'times the plain loop'], [row(n) for n in l['images_per_s']])}"""
    if a := d.get('attention'):
        text += (f"\n\nFused attention (`scaled_dot_product_attention`) against the formula written out, which is what the network takes on a CPU, on queries of shape {'×'.join(map(str, a['shape']))} in {a['dtype']}: "
                 f"{spread(a['alone'], times)} times as fast alone, {spread(a['training'], times)} times in the whole training step.")
    if f := d.get('fit'):
        r, save = {(x['a'], x['b']): x for x in f['ratios']}, f['checkpoint_seconds']['median']
        text += (f"\n\n`Run.fit`, with new data, noise, averaging, clipping and a log every {f['log_every']} steps, runs at {spread(r['Run.fit', 'bare step'], times)} times the speed "
                 f"of forward, backward and optimiser alone on one fixed batch; `Trainer.step`, without the log, at {spread(r['Trainer.step', 'bare step'], times)}. "
                 f"A checkpoint, every {f['checkpoint_every']} steps, takes {save:.2f} s.")
    return f'{text}\n\n{where(d)}'


def trained(d):
    c, m = d['config'], d['config']['model']
    shape = f"{m['channels']} channels times {', '.join(map(str, m['mults']))}, {m['blocks']} block{'s'*(m['blocks'] > 1)} a level, attention at {' and '.join(map(str, m['attn']))} pixels"
    return f"""### How it was trained

On the {d['images']:,} training images of {c['data']} at {m['image_size']}×{m['image_size']}: {c['steps']:,} steps of {c['batch_size']} images, {d['images_seen']/d['images']:.0f} epochs, in {d['seconds']/60:.1f} minutes from the start of the program to its end; {number(d['images_per_s'])} images/s, {d['share_of_ceiling']:.0%} of what a matrix product reaches there. {c['no_class']:.0%} of the images are shown without their class, so that one network draws with and without. {c['prediction']}-prediction, {c['schedule']} schedule, peak learning rate {c['lr']:g}. The U-Net ({shape}) has {d['parameters']:,} parameters; its averaged weights take {d['bytes']/1e6:.1f} MB in fp16.

{where(d)}"""

def plus_minus(value, error, digits): return f'{value:.{digits}f} ± {error:.{digits}f}'

def steps(d):
    "Distances and speed, a row for each sampler and a column for each number of steps."
    runs = {(r['sampler'], r['steps']): r for r in d['runs']}
    names, ks = dict.fromkeys(r['sampler'] for r in d['runs']), sorted({k for _, k in runs})
    def block(title, cell): return table([title, *map(str, ks)], [[n, *(cell(runs[n, k]) if (n, k) in runs else '' for k in ks)] for n in names])
    def distance(which, digits):
        of = [next(s for s in r['scores'] if s['name'] == which) for r in d['runs']]
        real = plus_minus(*(statistics.fmean(s[k] for s in of) for k in ('floor', 'floor_spread')), digits)
        return block(f'{which} (real against real {real})', lambda r: plus_minus(*(next(s[k] for s in r['scores'] if s['name'] == which) for k in ('value', 'spread')), digits))
    return f"""### Quality against the number of steps

Fréchet (FD) and kernel (KD) distance of {d['runs'][0]['n']:,} images, drawn without a class, to the {d['setting']['data']} training images at {d['setting']['image_size']}×{d['setting']['image_size']}, in the features of the shipped classifier; ± is the spread over draws of as many images. Real against real: as many test images, against the same training images. {d['runs'][0]['n']:,} is three quarters of the test images, the most that leaves draws of them which differ. A column is a number of steps, each one evaluation of the network.

{distance('FD', 3)}

{distance('KD', 4)}

{block('images/s', lambda r: number(r['images_per_s']))}

The time is that of `sample`, with a random generator for each image: what draws fresh noise in every step pays for it.

{where(d)}"""

def classifiers(d):
    kinds = {k: [r for r in d['runs'] if r['trained_on'] == k] for k in ('real', 'samples')}
    def mean(kind, on, c=None): return statistics.fmean(r[on] if c is None else r['by_class'][on][c] for r in kinds[kind])
    def error(kind, on): return f" ± {statistics.stdev(r[on] for r in kinds[kind])*100:.2f}" if len(kinds[kind]) > 1 else ''
    asked = [(k, on, title) for k, on, title in (('real', 'test', 'trained on real images, tested on real ones'), ('real', 'samples', 'trained on real images, shown samples'),
                                                 ('samples', 'test', 'trained on samples, tested on real images')) if kinds[k]]
    rows = [['all', *(f'{mean(k, on):.2%}'[:-1] + error(k, on) for k, on, _ in asked)]] + [[g, *(f'{100*mean(k, on, c):.1f}' for k, on, _ in asked)] for c, g in enumerate(GARMENTS)]
    return f"""### What independent classifiers say

{d['n']:,} images, as many of each class, drawn with their class in {d['steps']} steps of {d['sampler']} at {number(d['images_per_s'])} images/s. The classifiers are built and trained like that of [chapter 12](12_evaluation.ipynb), from other seeds: one on the {d['n']:,} real training images, one in the same number of steps on the samples alone. Per cent right{', mean and spread over the seeds ' + ', '.join(str(r['seed']) for r in kinds['real']) if len(kinds['real']) > 1 else ''}; the test images are real and were seen by neither model nor classifiers. If the samples were as good as new real images, the columns would agree.

{table(['class', *(title for *_, title in asked)], rows)}

{where(d)}"""

def bits(d):
    b, s = d['bits_per_dim'], d['setting']['image_size']
    def part(k): return sum(r['n']*r[k] for r in d['runs'])/b['images']
    border = f" The black border round the original 28×28 pixels is cheap, and the average over 32×32 profits from it; spread over these 784 pixels alone, the bound is {b['mean']*s*s/784:.3f}." if s == 32 else ''
    return f"""### Bits per dimension

At most {plus_minus(b['mean'], b['standard_error'], 4)} bits for each of the {s}×{s} pixels, over {b['images']:,} test images without their class: the bound of [chapter 05](05_elbo.ipynb) with all T steps, variance β̃ and the network in fp32; ± is the standard error. The prior takes {part('prior'):.1g} of it, the last step {part('decoder'):.3f}.{border} Training minimised the mean square error, not this bound.

{where(d)}"""

def fastai(d):
    groups = {}
    for r in d['runs']: groups.setdefault((r['sampler'], r['steps']), []).append(next(s for s in r['scores'] if s['name'] == 'FD'))
    def row(name, k, of):
        value, floor, ratio = ([f(s) for s in of] for f in (lambda s: s['value'], lambda s: s['floor'], lambda s: s['value']/s['floor']))
        return [f'ours, {name}', str(k), plus_minus(statistics.fmean(value), statistics.stdev(value) if len(of) > 1 else of[0]['spread'], 3), f'{statistics.fmean(floor):.3f}', times(statistics.fmean(ratio))]
    published = [[name, f'{k:,}', f'{fd:.2f}', f'{real:.2f}' if real else '', times(fd/real) if real else ''] for name, k, fd, real in PUBLISHED]
    n, s = d['runs'][0]['n'], d['setting']['image_size']
    return f"""### Beside the figures of fast.ai's course

The [course](https://github.com/fastai/course22p2) judges its models of Fashion-MNIST at 32×32 by the Fréchet distance of 2,048 samples to a batch of 2,048 training images, in the features of a classifier of its own, and prints what another batch of training images scores. Ours by the same protocol, at {s}×{s}: {n:,} samples without a class, {n:,} training images, and other {n:,} training images for the column "real"; mean and spread over draws.

{table(['', 'steps', 'FD', 'real', 'FD / real'], published + [row(*k, of) for k, of in groups.items()])}

**The features differ, so the distances cannot be compared.** Only the last column can, loosely: how many times as far as real images are the samples from real images? At N = {n:,} much of either distance is the error of estimating a covariance from so few. Theirs was trained for 25 epochs, on another machine and with another network.

{where(d)}"""

FASHION = dict(train=trained, steps=steps, fastai=fastai, classifiers=classifiers, bits=bits)

def fashion(device, results):
    "The sections on the model in the package, of what was measured on this device."
    found = {k: d for k in FASHION if (d := load(f'fashion_mnist_{k}', device, results))}
    return [FASHION[k](d) for k, d in found.items() if d.get('runs', True)]


def page(results):
    parts = [HEAD]
    for device, title in (('cuda', 'On a GPU'), ('cpu', 'On a CPU')):
        found = {kind: d for kind in ('race', 'quality', 'tricks') if (d := load(kind, device, results))}
        if not found: continue
        parts.append(f'## {title}')
        if 'race' in found: parts += [wins(found['race']), race(found['race'])]
        if 'quality' in found and found['quality']['runs']: parts.append(quality(found['quality']))
        if 'tricks' in found: parts.append(tricks(found['tricks']))
    for device, title in (('cuda', 'a GPU'), ('cpu', 'a CPU')):
        if sections := fashion(device, results): parts += [f'## The model in the package, on {title}', *sections]
    if len(parts) == 1: sys.exit('no results yet: run the scripts that benchmarks/README.md names')
    return '\n\n'.join([*parts, FOOT]) + '\n'

def main():
    text = page(RESULTS)
    if '--check' in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text: sys.exit('nbs/benchmarks.md is stale: run python benchmarks/page.py')
    else: write_atomic(PAGE, text.encode())

if __name__ == '__main__': main()
