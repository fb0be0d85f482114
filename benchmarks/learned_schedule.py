#!/usr/bin/env python3
"""What a learned noise schedule is worth to the garment model of the package (chapter 14): the schedule, learned by lowering the
variance of the bound's estimator; that variance for four schedules with the same ends, times independent or spread evenly; and
the bound itself for tables of 50 to 1000 steps, on held-out images. Each of the two
parts takes about a minute on one CPU core; `bound` begins with what `learn` wrote."""
import argparse, json, math
from pathlib import Path
import torch
from ddpm_lit.closed_form import NoiseSchedule, prior_kl, q_sample
from ddpm_lit.data import load_images
from ddpm_lit.elbo import discretized_log_prob
from ddpm_lit.forward import image_generators, randn_like
from ddpm_lit.learned_schedule import (AtAnyLevel, MonotoneGamma, NoiseLevels, continuous_loss, cosine_gamma, discrete_term, even_times,
                                       gamma_betas, learn_gamma, linear_beta_gamma, noise_error, straight_gamma)
from ddpm_lit.runs import load_pretrained
from ddpm_lit.viz import to_float
from measure import ROOT, options, record, short, write

D = 256                                                # numbers in an image
def bits(nats): return nats/(D*math.log(2))
def mean_se(x): return dict(mean=short(x.mean().item()), se=short(x.std().item()/len(x)**.5))

def moments(x0_at, x0, gammas, generator):
    "Mean of h = ‖ε - ε̂‖² and of h² over images, each level with fresh noise."
    h = torch.stack([noise_error(x0_at, x0, g.expand(len(x0)), randn_like(x0, generator)) for g in gammas])
    return dict(gamma=[short(g) for g in gammas.tolist()], h=[short(v) for v in h.mean(1).tolist()],
                h_se=[short(v) for v in (h.std(1)/len(x0)**.5).tolist()], h2=[short(v) for v in h.square().mean(1).tolist()])

def estimates(gamma, x0_at, images, batches, B, spread, generator):
    "ℓ in bits/dim `[batches, B]`: random images, times independent or spread evenly, fresh noise."
    rows = []
    for _ in range(batches):
        x0 = images[torch.randint(len(images), (B,), generator=generator)]
        u = torch.rand(B, dtype=torch.float64, generator=generator)
        rows.append(continuous_loss(gamma, x0_at, x0, even_times(u[0], B) if spread else u, randn_like(x0, generator)))
    return bits(torch.stack(rows))

def best_var(x0_at, x0, gamma, generator):
    "Mean squared error per pixel at the level of x_1: the decoder's best variance, Eq. (5.11)."
    g = torch.full((len(x0),), gamma, dtype=torch.float64)
    return noise_error(x0_at, x0, g, randn_like(x0, generator)).mean()*math.exp(gamma)/D

def bound(schedule, x0_at, images, sigma2, most, seed):
    """Bits/dim of each image: diffusion, decoder and prior `[3, N]`. One noise for all terms of an image, the same for all tables,
    so that differences are sharp. Of more than `most` terms each image gets that many, drawn evenly in proportion to their
    expected size and divided by their probability, as in Eq. (14.9)."""
    T, found = schedule.T, []
    level = -schedule.snr[1:].log()
    size = level.diff().expm1()*(torch.sigmoid(-level[1:]) + .01)              # of the terms t = 2…T, roughly
    p = size/size.sum() if T - 1 > most else size.new_full((T - 1,), 1/(T - 1))
    n = min(T - 1, most)
    for k in range(0, len(images), 64):
        x0, gens = images[k:k + 64], image_generators(seed, range(k, min(k + 64, len(images))))
        noise = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in gens])
        u = torch.stack([torch.rand((), dtype=torch.float64, generator=g) for g in gens])
        at = (torch.arange(n)[:, None] + u)/n                                  # `[n, B]`, one in each nth of the probability
        ts = 2 + torch.searchsorted(p.cumsum(0), at).clamp(max=T - 2)
        nats = sum(discrete_term(schedule, x0_at, x0, t, noise)/(n*p[t - 2]) for t in ts)
        g = -schedule.snr[1].log().expand(len(x0)); levels = NoiseLevels(g)
        named = -discretized_log_prob(x0, x0_at(q_sample(levels, x0, levels.t, noise), g), sigma2).flatten(1).sum(1)
        found.append(torch.stack([nats, named, prior_kl(schedule, x0)]))
    return bits(torch.cat(found, 1))

def learn(result, x0_at, train, test, quick, g):
    steps, batches, levels = (3, 2, 5) if quick else (200, 24, 33)
    low, high = x0_at.gammas[0].item(), 10.
    gamma = MonotoneGamma(low, high)
    squares = learn_gamma(gamma, x0_at, lambda: train[torch.randint(len(train), (16,), generator=g)], steps, .04, g)
    state = {k: v.tolist() for k, v in gamma.state_dict().items()}
    result['learned'] = dict(low=low, high=high, steps=steps, batch=16, state=state, squares=[short(s) for s in squares])
    torch.set_grad_enabled(False)
    result['moments'] = dict(moments(x0_at, test[:48], torch.linspace(low, high, levels, dtype=torch.float64), g), images=48)
    result['estimator'] = dict(batch=32, batches=batches, unit='bits/dim')
    for name, f in curves(result).items():
        alone, spread = (estimates(f, x0_at, test, batches, 32, s, g) for s in (False, True))
        result['estimator'][name] = dict(mean_se(alone.flatten()), sd=short(alone.std().item()), spread=mean_se(spread.mean(1)),
                                         sd_of_batch=short(alone.mean(1).std().item()), sd_of_spread_batch=short(spread.mean(1).std().item()))
        print(name, result['estimator'][name], flush=True)

def curves(result):
    "Four schedules with the same ends."
    low, high = (result['learned'][k] for k in ('low', 'high'))
    gamma = MonotoneGamma(low, high)
    gamma.load_state_dict({k: torch.tensor(v, dtype=torch.float64) for k, v in result['learned']['state'].items()})
    return dict(straight=straight_gamma(low, high), cosine=cosine_gamma(low, high), linear=linear_beta_gamma(low, high), learned=gamma)

def bounds(result, x0_at, train, test, quick, g):
    torch.set_grad_enabled(False)
    images, Ts, most = (8, (6, 12, 50), 3) if quick else (256, (50, 100, 250, 1000), 4)
    x0, found = test[:images], {}
    sigma2 = best_var(x0_at, train[:images], result['learned']['low'], g)
    result['bound'] = dict(same_ends={}, own_ends={}, images=images, terms=most, sigma2=short(sigma2.item()), unit='bits/dim')
    def summary(b): return dict(mean_se(b.sum(0)), diffusion=short(b[0].mean().item()), decoder=short(b[1].mean().item()), prior=short(b[2].mean().item()))
    for T in Ts:
        found = {name: bound(NoiseSchedule(gamma_betas(f, T)), x0_at, x0, sigma2, most, result['seed']) for name, f in curves(result).items()}
        row = {name: dict(summary(b), above_learned=mean_se((b - found['learned']).sum(0))) for name, b in found.items()}
        result['bound']['same_ends'][str(T)] = row
        print(T, row, flush=True)
    for T in (50, 1000):                               # the tables of chapter 01 as they are, each with its own ends
        tables = dict(cosine=NoiseSchedule.cosine(T), linear=NoiseSchedule.linear(T, beta_1=.1/T, beta_T=20/T))
        row = {}
        for name, schedule in tables.items():
            own = best_var(x0_at, train[:images], -schedule.snr[1].log().item(), g)
            row[name] = summary(bound(schedule, x0_at, x0, own, most, result['seed']))
        result['bound']['own_ends'][str(T)] = row
        print(T, row, flush=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('learn', 'bound'), help='learn: the schedule, and the noise of the estimator; bound: then, bits per dimension')
    options(parser, limit=600, sizes=False)
    args = parser.parse_args()
    out = Path(args.out) if args.out else None if args.quick else ROOT/'results/learned_schedule.json'
    before = json.loads(out.read_text()) if args.what == 'bound' and out and out.exists() else None
    torch.manual_seed(args.seed)
    g, head = torch.Generator().manual_seed(args.seed), record(args, parser)
    x0_at = AtAnyLevel(load_pretrained()[0])
    train, test = (to_float(load_images('fashion-12k', split, 16).images) for split in ('train', 'test'))
    if args.what == 'learn' or before is None:
        result = dict(head, bound=None)
        learn(result, x0_at, train, test, args.quick, g)
    else: result = dict(before, commands=[before['command'], head['command']])
    if args.what == 'bound': bounds(result, x0_at, train, test, args.quick, g)
    write(out, result)

if __name__ == '__main__': main()
