#!/usr/bin/env python3
"""How often pictures painted from words show what the words say: garment, colour, ground, and for two garments the relation; on combinations
seen in training and never seen, against the weight of guidance and the number of steps; the judge's readings of real pictures and of the VAE's
reconstructions beside them; what the model paints without words; and, with --pooled, a network of the same size, trained as long, that gets one
vector for the whole caption. Writes `results/text.json` after each setting, and goes on from there when it is called again."""
import argparse, json, time
from pathlib import Path
import torch
from ddpm_lit.evaluation import machine
from ddpm_lit.latent import Judge, PaintedWorld, VAE, draw_scenes, load_network, scores
from ddpm_lit.runs import write_atomic
from ddpm_lit.text import alignment, load_painter, paint
from ddpm_lit.viz import to_float
from measure import ROOT, commit

WEIGHTS, STEPS, BEST = (1., 2., 3., 4., 6.), (5, 10, 50), 3.

def jobs(models):
    "Settings, the most wanted first."
    row = lambda model, pairs, seen, guidance, steps=20: dict(model=model, pairs=pairs, seen=seen, guidance=guidance, steps=steps)
    yield from (row('tokens', p, s, BEST) for s in (False, True) for p in (0., 1.))
    yield from (row('tokens', p, False, w) for w in WEIGHTS for p in (1., 0.))
    yield from (row('tokens', p, False, BEST, n) for n in STEPS for p in (0., 1.))
    yield from (row('tokens', 0., True, w) for w in WEIGHTS)
    if 'pooled' in models: yield from (row('pooled', p, False, w) for p in (1., 0.) for w in WEIGHTS)

def ceiling(n, what, seen, pairs):
    "What the judge reads in test pictures, or in what the VAE makes of them."
    g = torch.Generator().manual_seed(0)
    asked = draw_scenes(n, seen, pairs, g)
    x = PaintedWorld('test').paint(asked, g)
    if what == 'vae':
        vae = load_network(VAE, 'painted_vae')
        x = torch.cat([vae.pictures(vae.latents(part, g)) for part in x.split(250)])
    return scores(asked, Judge()(x))

def wordless(n, steps):
    "What the judge reads in pictures painted without words, and in training scenes, as counts."
    def counts(s):
        alone = s.layouts == 0
        return dict(layouts=s.layouts.bincount(minlength=3).tolist(), grounds=s.grounds.bincount(minlength=8).tolist(),
                    garments=s.garments[alone, 0].bincount(minlength=10).tolist(), colours=s.colours[alone, 0].bincount(minlength=8).tolist())
    g = torch.Generator().manual_seed(1)
    real = PaintedWorld('train').paint(draw_scenes(n, pairs=.65, generator=g), g)      # as in its training
    return dict(n=n, painted=counts(Judge()(to_float(paint([''] * n, guidance=0, steps=steps)))), real=counts(Judge()(real)))

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=500)
    p.add_argument('--few', type=int, help='prompts of each setting that is not the best weight and number of steps; as many as --n')
    p.add_argument('--real', type=int, default=2000, help='real pictures')
    p.add_argument('--pooled', help='weights of the network that gets one vector, a file of save_network')
    p.add_argument('--out', type=Path, default=ROOT/'results/text.json')
    p.add_argument('--limit', type=float, default=1e9, help='seconds after which nothing new is begun')
    p.add_argument('--quick', action='store_true', help='seconds, to see that it runs; writes nothing')
    a = p.parse_args()
    if a.quick: a.n, a.real = 8, 50
    a.few = a.few or a.n
    start, about = time.perf_counter(), dict(n=a.n, real=a.real, sampler='ddim')
    painters = dict(tokens=load_painter()) | (dict(pooled=load_painter(a.pooled)) if a.pooled else {})
    new = dict(about, commit=commit(), machine=machine(torch.device('cpu')), ceiling=[], rows=[])
    result = json.loads(a.out.read_text()) if a.out.exists() and not a.quick else new
    if {k: result[k] for k in about} != about: raise SystemExit(f'{a.out} was measured with other settings')
    def keep(*what):
        print(*what, flush=True)
        if not a.quick: write_atomic(a.out, (json.dumps(result, indent=1) + '\n').encode())
    for job in [dict(what=w, seen=s, pairs=p) for w in ('real', 'vae') for p in (0., 1.) for s in (False, True)]:
        if any(r.items() >= job.items() for r in result['ceiling']): continue
        result['ceiling'].append(job | dict(scores=ceiling(a.real, **job)))
        keep(job, result['ceiling'][-1]['scores']['all'])
    for job in list(jobs(painters))[::9 if a.quick else 1]:
        if any(r.items() >= job.items() for r in result['rows']) or time.perf_counter() - start > a.limit: continue
        begun = time.process_time()
        n = a.n if (job['guidance'], job['steps']) == (BEST, 20) else a.few
        found = alignment(n, job['guidance'], job['steps'], job['seen'], job['pairs'], painter=painters[job['model']])
        result['rows'].append(job | dict(n=n, scores=found, cpu_seconds=round(time.process_time() - begun, 1)))
        keep(job, {k: round(v[0], 3) for k, v in found.items()})
    if 'wordless' not in result and time.perf_counter() - start <= a.limit:
        result['wordless'] = wordless(a.n, 20)
        keep(result['wordless'])

if __name__ == '__main__': main()
