#!/usr/bin/env python3
"""Classifier-free guidance of the model in the package: accuracy, Fréchet distance, precision, recall and spread within the classes
against the weight; guidance in an interval of t only. Distances are measured as in
`results/pretrained_evaluation.json`: 1,000 images of 50 DDIM steps against the 60,000 training images at 16×16, in the features of the
shipped classifier; classes are drawn by chance, as in real data. Writes `results/guidance.json` after each setting, and goes on from
there when it is called again."""
import argparse, json, time
from dataclasses import replace
from pathlib import Path
import torch
from ddpm_lit.data import load_images
from ddpm_lit.evaluation import draw_like, features, frechet_distance, load_classifier, machine, moments, random_halves
from ddpm_lit.guidance import class_spread, guided, precision_recall
from ddpm_lit.runs import write_atomic
from ddpm_lit.sampling import sample
from ddpm_lit.viz import to_uint8
from measure import ROOT, commit

WEIGHTS = (0., .5, 1., 1.5, 2., 3., 4., 6., 8.)
EVERY = [dict(w=w) for w in WEIGHTS]
OTHERS = [dict(w=2., interval=(200, 800))] + [dict(w=4., interval=i) for i in ((200, 800), (800, 1000))]

class Judge:
    "Real images at the model's size, their features, and what the classifier finds in images."
    def __init__(self, data, root, n):
        train, held_out = (load_images(data, split, 16, root) for split in ('train', 'test'))
        self.net, self.n = load_classifier(), n
        self.reference = moments(features(train.images, self.net.features))
        self.held_out, self.labels = held_out.images, held_out.labels
        self.real, self.logits = (features(held_out.images, f) for f in (self.net.features, self.net))
        g = torch.Generator().manual_seed(0)
        self.draws = [draw_like(held_out.labels, n, g) for _ in range(10)]

    def fd(self, feats): return frechet_distance(*moments(feats), *self.reference)
    def numbers(self, images, feats, logits, labels, cloud):
        guess = logits.argmax(1)
        precision, recall = precision_recall(feats, cloud)
        return dict(fd=self.fd(feats), accuracy=(guess == labels).double().mean().item(), precision=precision, recall=recall,
                    class_spread=class_spread(feats, guess), white=(images >= 250).double().mean().item())

    def samples(self, images, labels):
        feats, logits = features(images, self.net.features), features(images, self.net)
        spread = torch.tensor([self.fd(feats[i]) for i in random_halves(len(feats))]).std().item()
        return self.numbers(images, feats, logits, labels, self.real[self.draws[0]]) | dict(fd_spread=spread)

    def floor(self):
        "What held-out images score at the same N: mean and standard deviation over ten draws."
        rows = [self.numbers(self.held_out[i], self.real[i], self.logits[i], self.labels[i], self.real[j])
                for i, j in zip(self.draws, self.draws[1:] + self.draws[:1])]
        table = {k: torch.tensor([r[k] for r in rows]).double() for k in rows[0]}
        return {k: dict(mean=v.mean().item(), sd=v.std().item()) for k, v in table.items()}

def draw(n, seed, steps, w, interval=None, clip=True, model='fashion_mnist'):
    "Images, float, and the classes asked for."
    labels = torch.randint(10, (n,), generator=torch.Generator().manual_seed(seed))
    denoise = replace(guided(model, w, interval=interval), clip=clip)
    return sample(denoise, n, steps=steps, label=labels.tolist(), seed=seed, batch=250, finish=lambda x: x), labels

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=1000)
    p.add_argument('--steps', type=int, default=50)
    p.add_argument('--seeds', type=int, nargs='+', default=[0])
    p.add_argument('--data', default='FashionMNIST')
    p.add_argument('--root', default='~/.cache/ddpm_lit', help="where torchvision's sets lie")
    p.add_argument('--out', type=Path, default=ROOT/'results/guidance.json')
    p.add_argument('--limit', type=float, default=1e9, help='seconds after which nothing new is begun')
    p.add_argument('--quick', action='store_true', help='seconds, to see that it runs; writes nothing')
    a = p.parse_args()
    start = time.perf_counter()
    if a.quick: a.n, a.steps, a.seeds, a.data = 200, 2, [0], 'fashion-12k'
    judge = Judge(a.data, a.root, a.n)
    about = dict(what='fashion_mnist', data=a.data, size=16, n=a.n, sampler='ddim', steps=a.steps, features='shipped')
    done = lambda: json.loads(a.out.read_text()) if a.out.exists() and not a.quick else dict(
        about, commit=commit(), machine=machine(torch.device('cpu')), floor=judge.floor(), rows=[])
    key = lambda r: (r['seed'], r['w'], tuple(r['interval'] or ()), r['clip'])
    jobs = [dict(seed=s, interval=None, clip=True) | k for s in a.seeds for k in EVERY + OTHERS]
    for job in jobs[::4] if a.quick else jobs:
        result = done()
        if {k: result[k] for k in about} != about: raise SystemExit(f'{a.out} was measured with other settings')
        if key(job) in map(key, result['rows']) or time.perf_counter() - start > a.limit: continue
        begun = time.process_time()
        images, labels = draw(a.n, steps=a.steps, **job)
        row = job | judge.samples(to_uint8(images), labels) | dict(outside=(images.abs() > 1.01).double().mean().item(),
                                                                    cpu_seconds=round(time.process_time() - begun, 1))
        result = done()
        result['rows'] = sorted(result['rows'] + [row], key=key)
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        if not a.quick: write_atomic(a.out, (json.dumps(result, indent=1) + '\n').encode())

if __name__ == '__main__': main()
