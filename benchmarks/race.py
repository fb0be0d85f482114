#!/usr/bin/env python3
"""Training and sampling speed of this package, diffusers and denoising-diffusion-pytorch: U-Nets of equal parameter count, the same
images and batch, all in one process and by turns. Each library in its documented fp32 and in the device's fast number format."""
import argparse
from functools import partial
from contestants import PEERS, Diffusers, Ours, check_equal, count, gather, label, precisions, task
from measure import alternate, ceiling, destination, options, rates, ratios, record, repeated, steps_for, write


def line_up(task, compile):
    "Makers of all contestants, ours first."
    makers = {label(Ours, d): partial(Ours, task, d) for d in precisions(task.device)}
    if compile: makers[f'{next(iter(makers))} compiled'] = partial(Ours, task, compile=True)
    makers |= {label(peer, d): partial(peer, task, d) for peer in PEERS for d in precisions(task.device)}
    return makers | {f'{label(Diffusers, d)} tuned': partial(Diffusers, task, d, tuned=True) for d in precisions(task.device)}

def pairs(names):
    "Each of ours against each peer; the fast number format against fp32, and compiled against not."
    ours = [n for n in names if n.startswith(Ours.library)]
    among = [(b, ours[0]) if 'compiled' in b else (ours[0], b) for b in ours[1:]]
    return [(a, b) for a in ours for b in names if b not in ours] + among

def measured(jobs, work, device, seconds, rounds, **settings):
    "One discipline: images per second and ratios."
    times = alternate(jobs, device, seconds, rounds)
    return dict(**settings, images_per_s=rates(times, work), ratios=ratios(times, pairs(list(jobs))))

def show(title, discipline):
    print(f"\n{title}, {len(next(iter(discipline['images_per_s'].values()))['rounds'])} rounds")
    for name, s in discipline['images_per_s'].items(): print(f"  {name:36}{s['median']:>12,.1f} images/s   ({s['q1']:,.1f} to {s['q3']:,.1f})")
    for r in discipline['ratios']: print(f"  {r['a']} / {r['b']}: {r['median']:.2f} ({r['q1']:.2f} to {r['q3']:.2f})", flush=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    options(parser, limit=400)
    parser.add_argument('--data', default='fashion-12k', help='see ddpm_lit.data.load_images')
    parser.add_argument('--compile', action='store_true', help='race our compiled network too')
    args = parser.parse_args()
    t, out, unit = task(args.size, args.device, args.seed, args.data, 8 if args.quick else None), destination(args), (5 if args.quick else args.limit)/20
    rounds = 3 if args.quick else 15
    found, missing = gather(line_up(t, args.compile))
    check_equal(found)
    result = record(args, parser) | dict(
        setting=dict(data=args.data, size=args.size, image_size=t.net.image_size, batch=t.batch, images=len(t.images)),
        ceiling={str(d)[6:]: ceiling(t.device, d) for d in precisions(t.device)}, missing=missing,
        contestants={n: dict(library=c.library, dtype=str(c.dtype)[6:], parameters=count(c.net), flops=c.flops()) for n, c in found.items()})
    for n, c in result['contestants'].items(): print(f"{n:36}{c['parameters']:>12,} parameters{c['flops']/1e6:>12,.1f} MFLOP forward an image")
    print('matrix product, TFLOP/s:', result['ceiling'], '  missing:', missing or 'nobody', flush=True)
    write(out, result)

    k = max(steps_for(c.train_step, t.device, unit/30) for c in found.values())
    jobs = {n: repeated(c.train_step, k) for n, c in found.items()}
    result['training'] = measured(jobs, k*t.batch, t.device, 8*unit, rounds, steps_a_round=k)
    show('training', result['training'])
    write(out, result)

    for how in ('ddim', 'ancestral'):
        n, steps = t.batch, 2 if args.quick else 10
        jobs = {name: partial(c.sample, n, steps, how) for name, c in found.items() if type(c) is not Ours or name == next(iter(found))}   # ours has one way to draw
        result[how] = measured(jobs, n, t.device, 5*unit, rounds, steps=steps, n=n)
        show(f'{how}, {steps} steps, {n} images', result[how])
        write(out, result)

if __name__ == '__main__': main()
