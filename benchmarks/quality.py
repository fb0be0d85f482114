#!/usr/bin/env python3
"""Quality at equal time: every contestant trains on the same images for the same wall-clock time, then draws with 50 steps of its
own DDIM and its averaged weights, and is scored by the Fréchet and the kernel distance in the features of the shipped classifier.

A peer runs in the faster of its two number formats, at its documented learning rate and at ours; both results are reported. How
many steps fit into a budget, which the learning-rate schedules must know, is measured on throw-away contestants before. The clock
counts the training steps alone. A second call goes on where --limit stopped the first."""
import argparse, itertools, time
from dataclasses import asdict, replace
from functools import partial
from contestants import PEERS, Ours, check_equal, count, gather, label, precisions, task
from ddpm_lit.data import load_images
from ddpm_lit.evaluation import compare, features
from measure import destination, options, record, repeated, resumed, short, sync, timed, write


def calibrate(make, task, seconds):
    "Images a second of a throw-away contestant, the first three steps not counted."
    c = make()
    repeated(c.train_step, 3)()
    k = max(1, round(seconds/timed(repeated(c.train_step, 3), task.device)*3))
    return k*task.batch/timed(repeated(c.train_step, k), task.device)

def entries(task, seconds):
    "`[(class, arguments, images per second)]`, ours, and each peer in its faster format at two learning rates; and who is missing."
    ours, found, missing = Ours(task), [], {}
    for cls in (Ours, *PEERS):
        dtypes = [ours.dtype] if cls is Ours else precisions(task.device)
        speed, fails = gather({d: partial(calibrate, partial(cls, task, d), task, seconds) for d in dtypes})
        if fails: missing[cls.library] = next(iter(fails.values())); continue
        dtype = max(speed, key=speed.get)
        for c in (ours,) if cls is Ours else (cls, ours):   # whose learning rate
            found.append((cls, dict(dtype=dtype, lr=c.lr, warmup=c.warmup), speed[dtype]))
    return found, missing

def train(contestant, budget, steps):
    "Train for `steps` steps, or until `budget` seconds are over; returns (steps taken, seconds)."
    n, start, device = 0, time.perf_counter(), contestant.task.device
    while n < steps and time.perf_counter() - start < budget:
        contestant.train_step()
        n += 1
        if n % 10 == 0: sync(device)      # or the host would run ahead of the device, and of the clock
    sync(device)
    return n, short(time.perf_counter() - start)

def score(contestant, clouds, labels, n, steps):
    "`(Score, Score)` of n images, as dicts, and the seconds it took to draw them."
    images = []
    seconds = timed(lambda: images.append(contestant.sample(n, steps)), contestant.task.device)
    scores = compare(features(images[0], device=contestant.task.device), *clouds, labels, seed=contestant.task.seed)
    return dict(scores=[asdict(s) for s in scores], sampling_seconds=short(seconds))

def show(r):
    print(f"{r['budget']:>6g} s  {r['name']:46}{r['steps']:>7,} steps  " + '  '.join(
        f"{s['name']} {s['value']:.3f} ± {s['spread']:.3f} (real {s['floor']:.3f})" for s in r['scores']), flush=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    options(parser, limit=3600)
    parser.add_argument('--budgets', default=[60, 180], type=float, nargs='+', help='seconds of training')
    parser.add_argument('--seeds', default=1, type=int, help='how many runs of each, with seeds SEED, SEED + 1, …')
    parser.add_argument('--n', default=1000, type=int, help='images to be scored, at most 1500')
    parser.add_argument('--data', default='fashion-12k', help='see ddpm_lit.data.load_images')
    args, start = parser.parse_args(), time.perf_counter()
    budgets, n, steps = ([1.], 130, 2) if args.quick else (args.budgets, args.n, 50)
    t, out = task(args.size, args.device, args.seed, args.data, 8 if args.quick else None), destination(args)
    held_out = load_images(args.data, 'test', t.net.image_size)
    found, missing = entries(t, .2 if args.quick else 3)
    built = {cls.library: cls(t, kw['dtype']) for cls, kw, _ in found}
    check_equal(built)
    result = record(args, parser) | dict(
        setting=dict(data=args.data, size=args.size, image_size=t.net.image_size, batch=t.batch, images=len(t.images), n=n, steps=steps),
        parameters={name: count(c.net) for name, c in built.items()}, missing=missing, runs=[])
    result['runs'] = resumed(out, result)
    for r in result['runs']: show(r)
    done = {(r['library'], r['lr'], r['budget'], r['seed']) for r in result['runs']}
    reference = 1000 if args.quick else len(t.images)
    clouds = [features(x[:reference], device=t.device) for x in (held_out.images, t.images.images)]
    for seed, budget, (cls, kw, speed) in itertools.product(range(t.seed, t.seed + args.seeds), budgets, found):
        if (cls.library, kw['lr'], budget, seed) in done: continue
        if time.perf_counter() - start + budget > args.limit: return print('the limit is reached; call again to go on')
        length = max(1, round(budget*speed/t.batch))
        c = cls(replace(t, seed=seed), **kw, steps=length)
        taken, seconds = train(c, budget, length)
        run = dict(name=f"{label(cls, c.dtype)}, lr {c.lr:g}", library=cls.library, dtype=str(c.dtype)[6:], lr=c.lr, warmup=c.warmup, seed=seed,
                   budget=budget, steps=taken, seconds=seconds, **score(c, clouds, held_out.labels[:reference], n, steps))
        result['runs'].append(run)
        show(run)
        write(out, result)

if __name__ == '__main__': main()
