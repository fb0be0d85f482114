#!/usr/bin/env python3
"""Quality at equal time: all contestants train on the same images, by turns in one process, each until its own clock shows the
same number of seconds; then each draws with its own DDIM, with its raw and with its averaged weights, and is scored by the Fréchet
and the kernel distance in the features of the shipped classifier.

First, for every library, the learning rate: each of --rates and the documented one trains for the shortest of the budgets from a seed
of its own, and the one that scores best is taken, in the faster of the library's number formats. The clock counts the training steps
alone: on a CPU the processor time of the process, so that what else runs on the machine counts little, on a GPU the time until the
device is done. How many steps fit into a budget, which the learning-rate schedules must know, is measured by turns on throw-away
contestants. A second call goes on where --limit stopped the first."""
import argparse, statistics, time
from dataclasses import asdict, replace
from functools import partial
from contestants import Diffusers, Lucidrains, Ours, check_equal, count, gather, label, precisions, task
from ddpm_lit.data import load_images
from ddpm_lit.evaluation import compare, features
from measure import destination, options, record, resumed, short, sync, timed, write


LIBRARIES = {Ours.library: Ours, Diffusers.library: partial(Diffusers, tuned=True), Lucidrains.library: Lucidrains}

def clock(device): return time.process_time() if device.type == 'cpu' else (sync(device), time.perf_counter())[1]

def turns(contestants, budget, slice=1.):
    "Train `{name: contestant}` by turns, a slice of about a second at a time, each for `budget` seconds of its own; `{name: [steps, seconds]}`."
    spent = {name: [0, 0.] for name in contestants}
    while left := [n for n in contestants if spent[n][1] < budget]:
        for name in left:
            c, start, end = contestants[name], clock(contestants[name].task.device), min(slice, budget - spent[name][1])
            while (now := clock(c.task.device) - start) < end:
                c.train_step()
                spent[name][0] += 1
            spent[name][1] += now
    return spent

def speeds(makers, seconds):
    "Steps a second of throw-away contestants."
    built = {name: make() for name, make in makers.items()}
    turns(built, seconds/4)              # not counted
    return {name: n/s for name, (n, s) in turns(built, seconds).items()}

def score(contestant, judge, n, steps):
    "The scores of n images with each kind of weights, as dicts, and the seconds it took to draw n."
    drawn, told = {}, {}
    for kind in ('averaged', 'raw'):
        seconds = timed(lambda: drawn.update({kind: contestant.sample(n, steps, averaged=kind == 'averaged')}), contestant.task.device)
        told[kind] = [asdict(s) for s in judge(drawn[kind], contestant.task)]
    return dict(scores=told, sampling_seconds=short(seconds))

def lowest(run): return min(scores[0]['value'] for scores in run['scores'].values())

def show(r):
    print(f"{r['budget']:>6g} s  seed {r['seed']}  {r['name']:44}{r['steps']:>7,} steps in {r['seconds']:.1f} s  " + '  '.join(
        f"{kind}: " + ', '.join(f"{s['name']} {s['value']:.3f} ± {s['spread']:.3f}" for s in scores) for kind, scores in r['scores'].items()), flush=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, limit=7200)
    parser.add_argument('--budgets', default=[40, 120], type=float, nargs='+', help='seconds of training')
    parser.add_argument('--seeds', default=3, type=int, help='how many runs of each, with seeds SEED, SEED + 1, …')
    parser.add_argument('--rates', default=[1.5e-3, 4e-3], type=float, nargs='+', help='learning rates to choose from')
    parser.add_argument('--n', default=500, type=int, help='images to be scored, at most 1500')
    parser.add_argument('--data', default='fashion-12k', help='see ddpm_lit.data.load_images')
    args, start = parser.parse_args(), time.perf_counter()
    budgets, rates, seeds, n, steps = ([1.], [4e-3], 1, 130, 2) if args.quick else (args.budgets, args.rates, args.seeds, args.n, 25)
    t, out = task(args.size, args.device, args.seed, args.data, 8 if args.quick else None), destination(args)
    held_out = load_images(args.data, 'test', t.net.image_size)
    reference = 1000 if args.quick else len(t.images)
    clouds = [features(x[:reference], device=t.device) for x in (held_out.images, t.images.images)]
    judge = lambda images, task: compare(features(images, device=t.device), *clouds, held_out.labels[:reference], seed=task.seed)

    built, missing = gather({(name, d): partial(make, t, d) for name, make in LIBRARIES.items() for d in (precisions(t.device) if make is not Ours else [None])})
    check_equal(built)
    result = record(args, parser) | dict(
        setting=dict(data=args.data, size=args.size, image_size=t.net.image_size, batch=t.batch, images=len(t.images), n=n, steps=steps, rates=rates, budgets=budgets),
        parameters={c.library: count(c.net) for c in built.values()}, missing={f'{name} {d}': why for (name, d), why in missing.items()}, runs=[])
    result['runs'] = resumed(out, result)
    for r in result['runs']: show(r)
    found = lambda **wanted: [r for r in result['runs'] if all(r[k] == v for k, v in wanted.items())]
    def train(makers, budget, part, seed):
        "Those that are not done yet, by turns; each is scored and written down."
        makers = {k: m for k, m in makers.items() if not found(part=part, budget=budget, seed=seed, library=k[0], lr=k[1])}
        if not makers: return True
        if time.perf_counter() - start + budget*len(makers) > args.limit: return print('the limit is reached; call again to go on')
        speed = speeds({k: partial(m, t) for k, m in makers.items()}, min(5., budget/4))
        length = {k: max(1, round(budget*v)) for k, v in speed.items()}
        running = {k: m(replace(t, seed=seed), steps=length[k]) for k, m in makers.items()}
        for k, (taken, seconds) in turns(running, budget).items():
            c = running[k]
            result['runs'].append(dict(part=part, name=f"{label(type(c), c.dtype)}, lr {c.lr:g}", library=c.library, dtype=str(c.dtype)[6:], lr=c.lr, warmup=c.warmup,
                                       seed=seed, budget=budget, planned=length[k], steps=taken, seconds=short(seconds), **score(c, judge, n, steps)))
            show(result['runs'][-1])
            write(out, result)
        return True

    ours, fast, makers = built[Ours.library, None], {}, {}
    for (name, d), v in speeds({k: partial(LIBRARIES[k[0]], t, k[1]) for k in built}, .5 if args.quick else 4).items():
        if v > fast.get(name, (None, 0))[1]: fast[name] = (built[name, d], v)                      # in its faster number format
    for name, (usual, _) in fast.items():
        for lr in dict.fromkeys([usual.lr, *rates]):
            makers[name, lr] = partial(LIBRARIES[name], dtype=usual.dtype, lr=lr, warmup=None if lr == usual.lr else ours.warmup)
    pilot = t.seed + 1000
    if not train(makers, min(budgets), 'pilot', pilot): return
    winners = {r['library']: (r['library'], r['lr']) for r in sorted(found(part='pilot'), key=lambda r: -lowest(r))}
    for seed in range(t.seed, t.seed + seeds):
        for budget in budgets:
            if not train({k: makers[k] for k in winners.values()}, budget, 'race', seed): return

if __name__ == '__main__': main()
