#!/usr/bin/env python3
"""Draw nbs/map.png, the map of the whole pipeline on the title page and the page of notation. No arguments."""
import io
from pathlib import Path
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image
from ddpm_lit.closed_form import NoiseSchedule
from ddpm_lit.viz import tiles, to_float

INK, FORWARD, REVERSE, WASH = '#1f2328', '#0b6390', '#a8480c', '#f3f6f9'
SIZE, X = 1.16, (.75, 2.3, 3.85, 5.4, 6.95)   # inches
TIMES = (0, 60, 250, 500, 1000)


def arrow(ax, a, b, colour, rad=0., width=1.8):
    ax.add_patch(FancyArrowPatch(a, b, connectionstyle=f'arc3,rad={rad}', arrowstyle='-|>', mutation_scale=16, lw=width, color=colour, shrinkA=0, shrinkB=0))


def box(ax, x, y, w, text, chapter, colour=INK):
    "A box from `x` to `x + w` around height `y`, with the chapter that builds it below its text."
    ax.add_patch(FancyBboxPatch((x, y - .42), w, .84, boxstyle='round,pad=0,rounding_size=.1', fc=WASH, ec=colour, lw=1.3))
    ax.text(x + w/2, y + .12, text, ha='center', va='center', fontsize=14.5, color=INK)
    ax.text(x + w/2, y - .25, chapter, ha='center', va='center', fontsize=12, color=colour)


def main():
    plt.rcParams.update({'font.family': 'DejaVu Sans', 'mathtext.fontset': 'cm'})
    fig = plt.figure(figsize=(7.7, 7.15), dpi=125, facecolor='white')
    ax = fig.add_axes([0, 0, 1, 1])
    ax.axis('off')
    x0, abar = to_float(tiles()[66]), NoiseSchedule.cosine(1000).alpha_bars
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    top = 6.35
    for x, t, name in zip(X, TIMES, ('x_0', 'x_1', 'x_{t-1}', 'x_t', 'x_T')):
        a = float(abar[t])
        picture = ((a**.5*x0 + (1 - a)**.5*noise).clamp(-1, 1) + 1)/2
        ax.imshow(picture.permute(1, 2, 0), extent=(x - SIZE/2, x + SIZE/2, top - SIZE/2, top + SIZE/2), interpolation='nearest', zorder=2)
        ax.text(x, top - SIZE/2 - .22, f'${name}$', ha='center', va='center', fontsize=19, color=INK)
    ax.set(xlim=(0, 7.7), ylim=(.65, 7.8), aspect='equal')
    arrow(ax, (X[0], top + .65), (X[3], top + .65), FORWARD, -.15, 2.2)
    ax.text(2.6, 7.5, r'jump: $q(x_t\mid x_0)$, chapter 02', ha='center', fontsize=15, color=FORWARD)
    for a, b in zip(X, X[1:]): arrow(ax, (a + SIZE/2 + .04, top + .22), (b - SIZE/2 - .04, top + .22), FORWARD)
    ax.text(6.45, 7.28, r'step: $q(x_t\mid x_{t-1})$,' + '\nchapter 01', ha='center', va='center', fontsize=14, color=FORWARD, linespacing=1.3)
    for a, b in zip(X, X[1:]): arrow(ax, (b - SIZE/2 - .04, top - .22), (a + SIZE/2 + .04, top - .22), REVERSE)
    ax.text(3.85, 5.2, r'reverse step: $p_\theta(x_{t-1}\mid x_t)$, chapters 03 to 06', ha='center', va='center', fontsize=15, color=REVERSE)

    def row(y, title, colour, boxes):
        ax.text(.2, y + .66, title, fontsize=13.5, fontweight='bold', color=colour, va='center')
        x = .2
        for i, (w, text, chapter) in enumerate(boxes):
            box(ax, x, y, w, text, chapter, colour)
            if i + 1 < len(boxes): arrow(ax, (x + w + .02, y), (x + w + .27, y), colour)
            x += w + .29
    row(3.8, 'Training (09), long runs (10)', FORWARD, [(1.1, r'$x_0$', '07 data'), (1.55, r'$x_t$ from $x_0,\ \epsilon$', '02'),
        (1.62, r'$\epsilon_\theta(x_t, t)$', '08 network'), (2.15, r'$\Vert\epsilon-\epsilon_\theta(x_t,t)\Vert^2$', '05, 06 loss')])
    row(2.3, 'Sampling (11)', REVERSE, [(1.55, r'$x_T\sim\mathcal{N}(0, I)$', '02'), (1.5, r'guess $\hat{x}_0$', '06'), (1.9, r'$x_t\to x_s$, repeat', '03, 11'), (1.45, r'new $x_0$', '12 quality')])
    ax.text(.2, 1.25, 'Checking (04): in a world where the perfect network is a formula,\nevery step above can be compared with the exact answer.', fontsize=13, color=INK, va='center', linespacing=1.5)
    data = io.BytesIO()
    fig.savefig(data, format='png')
    image = Image.open(data).convert('RGB').quantize(128, dither=Image.Dither.NONE)
    target = Path(__file__).resolve().parent.parent/'nbs/map.png'
    image.save(target, optimize=True)
    print(f'{target.name}: {image.size[0]}×{image.size[1]}, {target.stat().st_size/1e3:.0f} kB')


if __name__ == '__main__': main()
