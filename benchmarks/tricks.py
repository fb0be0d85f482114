#!/usr/bin/env python3
"""What each trick of our trainer gains on this device. From a plain loop (fp32, default memory layout, a `DataLoader` on the host,
an optimiser and an average that go through the weights one by one, a look at the loss at every step), one trick after the other is
added; all loops run by turns in one process. Beside them the default layout again, and group norms that compute in the number format
of the convolutions, each with and without `torch.compile`. Then attention, fused and by hand, and what `Run.fit` costs over the bare
step."""
import argparse, itertools, tempfile
from dataclasses import dataclass, fields, replace
from functools import partial
from unittest import mock
import torch, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from contestants import Ours, fast_path, task
from ddpm_lit.closed_form import NoiseSchedule
from ddpm_lit.noise_prediction import ddpm_loss
from ddpm_lit.runs import save_config
from ddpm_lit.training import EMA, autocast, ema_decay
from ddpm_lit import unet
from ddpm_lit.unet import UNet
from ddpm_lit.viz import to_float
from measure import alternate, destination, options, rates, ratios, record, repeated, short, spread, steps_for, timed, write


@dataclass(frozen=True)
class Tricks:
    "In the order in which they are added."
    channels_last: bool = False       # memory layout of images and weights
    fast_format: bool = False         # autocast to the trainer's number format
    fused_optimizer: bool = False     # AdamW in one kernel
    fused_ema: bool = False           # the average in one `torch._foreach_lerp_`
    data_on_device: bool = False      # `DeviceLoader`
    no_item: bool = False             # nobody looks at the loss
    compiled: bool = False            # `torch.compile`
    fast_norms: bool = False          # group norms in the number format of the convolutions; not a rung

VARIANTS = dict(contiguous=dict(channels_last=False), fast_norms=dict(fast_norms=True))

def ladder(compile):
    "`{name: Tricks}`, each with one more than the one before."
    rungs, now = {'plain': Tricks()}, Tricks()
    for f in fields(Tricks):
        if f.name not in VARIANTS and (f.name != 'compiled' or compile): rungs[f'+ {f.name}'] = now = replace(now, **{f.name: True})
    for name, change in VARIANTS.items():
        rungs[name] = replace(now, compiled=False, **change)
        if compile: rungs[f'{name}, compiled'] = replace(now, **change)
    return rungs

def host_batches(task):
    "The images as floats on the host, shuffled and collated by PyTorch's `DataLoader`."
    loader = DataLoader(TensorDataset(to_float(task.images.images), task.images.labels), task.batch, shuffle=True, drop_last=True)
    for x, y in itertools.chain.from_iterable(itertools.repeat(loader)): yield x.to(task.device), y

def ema_by_hand(ema, model):
    "What `EMA.update` does, weight by weight."
    d = ema_decay(ema.n, ema.decay)
    with torch.no_grad():
        for a, b in zip(ema.model.parameters(), model.parameters()): a.mul_(d).add_(b, alpha=1 - d)
    ema.n += 1

def loop(task, tricks, prediction='v'):
    "One training step with these tricks, as a function of no arguments."
    torch.manual_seed(task.seed)
    dtype = fast_path(task.device)[0] if tricks.fast_format else torch.float32
    layout = torch.channels_last if tricks.channels_last else torch.contiguous_format
    model = UNet(task.net).to(task.device, memory_format=layout).train()
    for norm in model.modules():
        if tricks.fast_norms and isinstance(norm, torch.nn.GroupNorm): norm.__class__ = torch.nn.GroupNorm
    ema, schedule = EMA(model), NoiseSchedule.cosine(1000).to(task.device)
    optimizer = torch.optim.AdamW(model.parameters(), 1.5e-3, **(dict(fused=True) if tricks.fused_optimizer else dict(foreach=False)))
    batches = task.loader() if tricks.data_on_device else host_batches(task)
    if tricks.compiled: model.compile()
    cast = partial(autocast, task.device, dtype)
    def step():
        x = next(batches)[0].to(memory_format=layout)
        t, noise = torch.randint(1, schedule.T + 1, (len(x),), device=x.device), torch.randn_like(x)
        with cast(): loss = ddpm_loss(model, schedule, x, t, noise, prediction).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model) if tricks.fused_ema else ema_by_hand(ema, model)
        return None if tricks.no_item else loss.item()
    return step

def by_hand(q, k, v):
    "Attention, Eq. (8.10), written out."
    return (q @ k.transpose(-1, -2)*q.shape[-1]**-.5).softmax(-1) @ v

def attending(f, step):
    "A step whose network attends by `f`."
    with mock.patch.object(unet, 'attend', f): step()

def attention_job(f, q, k, v):
    def job(): f(q, k, v).sum().backward()
    return job

def bare_step(trainer):
    "Forward, backward and optimiser on one and the same batch, in the trainer's number format."
    x, t = trainer.batch()[0], torch.full((trainer.config.batch_size,), 500, device=trainer.device)
    noise = torch.randn_like(x)
    def step():
        with autocast(trainer.device, trainer.dtype): loss = trainer.loss(x, y=None, t=t, noise=noise).mean()
        loss.backward()
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
    return step

def fit(trainer, k):
    "k steps of `Run.fit` with its log, without its checkpoints and pictures."
    trainer.config = replace(trainer.config, steps=trainer.n + k, checkpoint_every=10**9, sample_every=10**9)
    with mock.patch.object(trainer, 'save', lambda: None): trainer.fit(progress=False)

def checkpoint(trainer):
    trainer.n += 1      # a step that was saved is not saved again
    trainer.save()

def show(title, rows): print(f'\n{title}', *(f"  {r['a']} / {r['b']}: {r['median']:.2f} ({r['q1']:.2f} to {r['q3']:.2f})" for r in rows), sep='\n', flush=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    options(parser, limit=160)
    parser.add_argument('--compile', action='store_true', help='the last rung too: torch.compile, which takes a minute to begin')
    args = parser.parse_args()
    t, out, unit = task(args.size, args.device, args.seed, batch=8 if args.quick else None), destination(args), (3 if args.quick else args.limit)/20
    rounds = 3 if args.quick else 15
    result = record(args, parser) | dict(setting=dict(size=args.size, image_size=t.net.image_size, batch=t.batch, data='fashion-12k', images=len(t.images)),
                                         fast_path=[str(x)[6:] for x in fast_path(t.device)])

    steps = {name: loop(t, tricks) for name, tricks in ladder(args.compile).items()} | {'Trainer.step': Ours(t).train_step}
    if args.compile: result['compile_seconds'] = short(timed(steps['+ compiled'], t.device))
    k = max(steps_for(step, t.device, unit/20) for step in steps.values())
    times = alternate({n: repeated(s, k) for n, s in steps.items()}, t.device, 9*unit, rounds)
    rungs = [n for n in steps if n.partition(',')[0] not in (*VARIANTS, 'Trainer.step')]
    last = next(n for n in reversed(rungs) if n != '+ compiled')
    pairs = [*zip(rungs[1:], rungs), ('Trainer.step', last), *((n, last) for n in VARIANTS), *((f'{n}, compiled', n) for n in VARIANTS if args.compile)]
    result['ladder'] = dict(steps_a_round=k, images_per_s=rates(times, k*t.batch), to_previous=ratios(times, pairs),
                            to_plain=ratios(times, [(n, 'plain') for n in steps if n != 'plain']))
    show('against the rung before', result['ladder']['to_previous'])
    show('against the plain loop', result['ladder']['to_plain'])
    write(out, result)

    side, c = t.net.attn[0], t.net.channels*t.net.mults[t.net.resolutions.index(t.net.attn[0])]
    q, k_, v = torch.randn(3, t.batch, t.net.heads, side*side, c//t.net.heads, device=t.device).to(fast_path(t.device)[0]).unbind()
    for x in (q, k_, v): x.requires_grad_()
    fused, hand = (attention_job(f, q, k_, v) for f in (F.scaled_dot_product_attention, by_hand))
    m = steps_for(fused, t.device, unit/40)
    step = Ours(t).train_step
    k = steps_for(step, t.device, unit/40)
    alone = alternate({'fused': repeated(fused, m), 'by hand': repeated(hand, m)}, t.device, unit, rounds)
    whole = alternate({'fused': repeated(partial(attending, F.scaled_dot_product_attention, step), k), 'by hand': repeated(partial(attending, by_hand, step), k)}, t.device, 2*unit, rounds)
    result['attention'] = dict(shape=list(q.shape), dtype=str(q.dtype)[6:], alone=ratios(alone, [('fused', 'by hand')])[0], training=ratios(whole, [('fused', 'by hand')])[0])
    show(f'attention {list(q.shape)}, then the whole training step', [result['attention']['alone'], result['attention']['training']])
    write(out, result)

    with tempfile.TemporaryDirectory() as run:
        trainer = Ours(t, run=run).trainer
        save_config(run, trainer.config)
        bare = bare_step(trainer)
        k = trainer.config.log_every
        times = alternate({'bare step': repeated(bare, k), 'Trainer.step': repeated(trainer.step, k), 'Run.fit': partial(fit, trainer, k)}, t.device, 5*unit, rounds)
        saves = [timed(partial(checkpoint, trainer), t.device) for _ in range(5)]
        result['fit'] = dict(steps_a_round=k, log_every=trainer.config.log_every, images_per_s=rates(times, k*t.batch), checkpoint_seconds=spread(saves),
                             checkpoint_every=Ours(t).trainer.config.checkpoint_every,
                             ratios=ratios(times, [('Trainer.step', 'bare step'), ('Run.fit', 'Trainer.step'), ('Run.fit', 'bare step')]))
    show('what fit costs', result['fit']['ratios'])
    print(f"  a checkpoint: {result['fit']['checkpoint_seconds']['median']:.3f} s")
    write(out, result)

if __name__ == '__main__': main()
