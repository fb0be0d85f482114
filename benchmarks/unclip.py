#!/usr/bin/env python3
"""The experiments of chapter 19 at full size: `trial`, four points that stand for a caption, judged for alignment and diversity at two
weights of guidance, half of the captions of combinations never trained on; `variations` of real pictures, what stays and what changes;
`between` two pictures, what the judge sees on the way; `changes` by words. Each part goes to results/unclip.json."""
import argparse, json, time
from pathlib import Path
import torch
from ddpm_lit.latent import Judge, PaintedWorld
from ddpm_lit.unclip import captioned, change_trial, load_unclip, mean_error, slerp, trial, variation_trial
from measure import ROOT, command, record, update


def trials(model, world, a):
    def row(w):
        both = [trial(model, world, a.n//2, a.k, w, seen, seed=a.seed + seen, steps=a.steps) for seen in (True, False)]
        rows = {name: {part: torch.cat([b[name][part] for b in both]).double() for part in both[0][name]} for name in both[0]}
        for one, other in (('shifted', 'caption'), ('prior', 'shifted'), ('prior', 'picture')):        # caption by caption
            rows[f'{one} - {other}'] = {part: rows[one][part] - rows[other][part] for part in rows[one]}
        found = {name: {part: mean_error(v) for part, v in row.items()} for name, row in rows.items()}
        for name in both[0]: found[name]['spread, right'] = mean_error(rows[name]['spread'][rows[name]['garment'].all(1)])
        return found
    return dict(rows={f'{w:g}': row(w) for w in a.weights})

def variations(model, world, a):
    found = variation_trial(model, world, a.n*a.k, a.weights[-1], a.seed, a.steps)
    return dict(row={k: mean_error(v) for k, v in found.items()})

@torch.no_grad()
def between(model, world, a):
    "On the way from one picture to another: whose garment, colour and ground the judge sees."
    scenes, x, _ = next(captioned(world, 2*a.n, True, torch.Generator().manual_seed(a.seed)))
    u, v, judge, rows = *model.embed(x).chunk(2), Judge(), {}
    def things(s): return torch.stack([s.garments[:, 0], s.colours[:, 0], s.grounds], 1)
    first, second = things(scenes).chunk(2)
    for f in (0., .25, .5, .75, 1.):
        seen = things(judge(model.paint(slerp(u, v, f), a.seed, a.weights[-1], a.steps)))
        differ = first != second
        rows[f'{f:g}'] = {name: {what: mean_error((seen == one)[differ[:, i], i]) for what, one in (('first', first), ('second', second))}
                          | dict(neither=mean_error(((seen != first) & (seen != second))[differ[:, i], i]))
                          for i, name in enumerate(('garment', 'colour', 'ground'))}
    return dict(rows=rows)

def changes(model, world, a):
    thetas = (0., .2, .3, .4, .5, .6)
    def row(what):
        found = change_trial(model, world, a.n, thetas, what, a.weights[-1], a.seed, a.steps)
        return {f'{t:g}': {k: mean_error(v) for k, v in r.items()} for t, r in found.items()}
    return dict(rows={what: row(what) for what in ('garment', 'colour', 'ground')})

PARTS = dict(trial=trials, variations=variations, between=between, changes=changes)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=PARTS)
    parser.add_argument('--n', default=60, type=int, help='captions, or pictures to change')
    parser.add_argument('--k', default=4, type=int, help='pictures of each caption')
    parser.add_argument('--weights', default=[1., 2.], type=float, nargs='+', help='of guidance; other parts than trial take the last')
    parser.add_argument('--steps', default=10, type=int, help='of DDIM in the decoder')
    parser.add_argument('--seed', default=0, type=int)
    parser.add_argument('--device', default='cpu', choices=['cpu'])
    parser.add_argument('--out', type=Path, help='where the JSON goes (results/unclip.json)')
    parser.add_argument('--quick', action='store_true', help='seconds, to see that it runs; writes nothing unless --out is given')
    args = parser.parse_args()
    line = command(args, parser)
    if args.quick: args.n, args.k, args.steps = 8, 2, 2
    start = time.process_time()
    found = PARTS[args.what](load_unclip(), PaintedWorld('test'), args)
    found = dict(record(args, parser), command=line, n=args.n, k=args.k, steps=args.steps, **found, cpu_seconds=round(time.process_time() - start))
    print(json.dumps(found, indent=1))
    path = args.out or None if args.quick else args.out or ROOT/'results'/'unclip.json'
    update(path, lambda result: result.update({args.what: found}))

if __name__ == '__main__': main()
