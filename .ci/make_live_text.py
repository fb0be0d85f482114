#!/usr/bin/env python3
"""Put the model that paints from words into the page that paints in the browser: nbs/live_text.onnx (the U-Net and its
text encoder), nbs/live_decoder.onnx (latents to pictures), nbs/live_text.json (vocabulary, schedule).

usage: make_live_text.py       takes the weights that come with the package; needs the extra `site`

The weights are stored in 16 bits, as they come. Both graphs are compared with PyTorch. What PyTorch paints from a
caption goes to .ci/live_text.json, so that .ci/browser.py can compare what the page paints with it.
"""
import json, random, sys
import torch
from torch import nn
from ddpm_lit.guidance import Guided
from ddpm_lit.latent import draw_scenes
from ddpm_lit.sampling import ddim
from ddpm_lit.text import LENGTH, WORDS, caption, load_painter, tokenize
from make_live import graph, nbs, noisy, rounded, settings, start

tolerance, biggest = 1e-4, 6_000_000     # of each graph against PyTorch; bytes of everything that the page fetches
PROMPT, GUIDANCE, STEPS, SEEDS = 'a red sneaker on a blue ground', 3., 30, (0, 1, 2, 3)
WRONG = 'a red sneeker', 'a rde bag on wite', 'a Red zebra!', 'an x on a blue ground', ' '.join(['red']*15)


class Decoder(nn.Module):
    "Scaled latents to pictures, not clipped."
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, z): return self.vae.decoder(z/self.vae.scale)


def followers(n=5000):
    "The words that come after each word in captions, '' standing for the beginning."
    rng, found = random.Random(0), {}
    scenes = draw_scenes(n, generator=torch.Generator().manual_seed(0))
    for i in range(n):
        words = ['', *caption(scenes[i], rng).split()]
        for a, b in zip(words, words[1:]): found.setdefault(a, set()).add(b)
    return {a: [w for w in WORDS if w in bs] for a, bs in found.items()}


def complaints():
    "What chapter 18 answers to captions that it cannot read."
    found = {}
    for text in WRONG:
        try: tokenize(text)
        except ValueError as e: found[text] = str(e)
    return found


def painted(denoise, prompt, w):
    "PyTorch's latents and guidance for a caption, by DDIM in float32."
    none = torch.zeros(LENGTH, dtype=torch.int64)
    guided = Guided(denoise.model, denoise.schedule, denoise.prediction, denoise.clip, w, none)
    y = tokenize(prompt).expand(len(SEEDS), -1)
    *_, (_, z, _) = ddim(guided, start(denoise, SEEDS), STEPS, y=y)
    return z


def main():
    if sys.argv[1:]: sys.exit(__doc__.split('\n\n')[1])
    painter = load_painter()
    denoise, decode = painter.denoise, Decoder(painter.vae).eval()
    denoise.model.cond.check = lambda x, y: None     # it looks at numbers, which a graph cannot
    captions = ['', PROMPT, 'a white ground with an orange t-shirt left of a black handbag']
    inputs = [dict(one, y=tokenize(captions[i % 3])[None]) for i, one in enumerate(noisy(denoise))]
    text = graph(denoise.model, inputs, tolerance)
    z, empty = painted(denoise, PROMPT, GUIDANCE), painted(denoise, '', 1.)
    decoder = graph(decode, [dict(z=one[None]) for one in z], tolerance)
    with torch.no_grad(): pictures = decode(z)
    about = settings(denoise, words=WORDS, length=LENGTH, follows=followers())
    files = {'live_text.onnx': text, 'live_decoder.onnx': decoder, 'live_text.json': json.dumps(about).encode() + b'\n'}
    for name, data in files.items(): print(f'{name}: {len(data)/1e6:.2f} MB')
    if (total := sum(map(len, files.values()))) > biggest: sys.exit(f'{total/1e6:.2f} MB, more than {biggest/1e6}')
    for name, data in files.items(): (nbs/name).write_bytes(data)
    reference = dict(prompt=PROMPT, guidance=GUIDANCE, steps=STEPS, seeds=SEEDS, latents=rounded(z, 5), wordless=rounded(empty, 5),
                     pictures=rounded(pictures, 3), complaints=complaints())
    (nbs.parent/'.ci/live_text.json').write_text(json.dumps(reference) + '\n')


if __name__ == '__main__': main()
