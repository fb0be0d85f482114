#!/usr/bin/env python3
"""Put the weights of a run into the page that paints in the browser: nbs/live.onnx, nbs/live.json, and the pictures
made from the same weights, nbs/hero.png (title page) and nbs/card.png (what other sites show when they link here).

usage: make_live.py RUN        RUN is a folder that `ddpm_lit_train` wrote; needs the extra `site`

The weights are stored as 16-bit integers with one scale per output channel and unfolded to float32 when the page
loads them; the graph is held against PyTorch with the original weights, and the samples of all three samplers too.
"""
import io, json, math, sys, warnings
from pathlib import Path
import numpy as np, onnx, onnxruntime, torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFont
from ddpm_lit.forward import image_generators
from ddpm_lit.noise_prediction import ancestral
from ddpm_lit.sampling import ddim, dpm_solver
from ddpm_lit.runs import load_run

nbs = Path(__file__).resolve().parent.parent/'nbs'
tolerance, biggest = 1e-4, 4_000_000   # of the graph against PyTorch; bytes
HERO = 33, 1, 2, 31, 7, 37             # seeds of the title picture, six different garments with the shipped weights


def noise(seed, n):
    "n standard normal numbers, the same as `normals` in live.js: mulberry32 through Box and Muller."
    state, out = seed % 2**32, []
    def uniform():
        nonlocal state
        state = (state + 0x6D2B79F5) % 2**32
        t = (state ^ state >> 15)*(state | 1) % 2**32
        t ^= (t + (t ^ t >> 7)*(t | 61)) % 2**32
        return ((t ^ t >> 14) + .5)/2**32
    while len(out) < n:
        r, phi = math.sqrt(-2*math.log(uniform())), 2*math.pi*uniform()
        out += [r*math.cos(phi), r*math.sin(phi)]
    return np.array(out[:n], dtype=np.float32)


def export(model, example):
    "A network as an ONNX graph in float32, with the inputs that `example` names and the output `out`."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(model, tuple(example.values()), dynamo=True, verbose=False, input_names=list(example), output_names=['out'], opset_version=18)
    return program.model_proto


def shrink(graph):
    "Store each weight of more than a thousand numbers in 16 bits: as float16 if it loses nothing, or as integers with a scale for each output channel."
    kept, nodes = [], []
    for w in graph.initializer:
        a = numpy_helper.to_array(w)
        if a.dtype != np.float32 or a.size < 1000: kept.append(w); continue
        if (a == a.astype(np.float16)).all():
            kept.append(numpy_helper.from_array(a.astype(np.float16), f'{w.name}.h'))
            nodes.append(helper.make_node('Cast', [f'{w.name}.h'], [w.name], to=TensorProto.FLOAT))
            continue
        axes = tuple(range(1, a.ndim)) if a.ndim > 1 else None
        scale = np.maximum(np.abs(a).max(axis=axes, keepdims=True), 1e-12)/32767
        for name, value in (('q', np.rint(a/scale).astype(np.int16)), ('scale', scale.astype(np.float32))):
            kept.append(numpy_helper.from_array(value, f'{w.name}.{name}'))
        nodes += [helper.make_node('Cast', [f'{w.name}.q'], [f'{w.name}.f'], to=TensorProto.FLOAT),
                  helper.make_node('Mul', [f'{w.name}.f', f'{w.name}.scale'], [w.name])]
    nodes += graph.node
    for part in (graph, *nodes, *graph.input, *graph.output, *kept): del part.metadata_props[:]   # paths of the machine that exported
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def compare(model, data, inputs):
    "Largest difference between the graph and PyTorch over a list of inputs, each a dict of tensors."
    session, worst = onnxruntime.InferenceSession(data), 0.
    for one in inputs:
        with torch.no_grad(): want = model(*one.values()).numpy()
        got, = session.run(None, {name: value.numpy() for name, value in one.items()})
        worst = max(worst, np.abs(got - want).max())
    return float(worst)


def graph(model, inputs, tolerance):
    "The bytes of a network's graph with small weights; ends the program if it is more than `tolerance` from PyTorch."
    proto = export(model, inputs[0])
    shrink(proto.graph)
    onnx.checker.check_model(proto)
    data = proto.SerializeToString()
    worst = compare(model, data, inputs)
    print(f'{type(model).__name__}: {len(data)/1e6:.2f} MB, at most {worst:.1e} from PyTorch')
    if worst > tolerance: sys.exit(f'that is more than {tolerance}')
    return data


def shape_of(denoise):
    "Of one image, `(C, H, W)`."
    c = denoise.model.config
    return c.in_channels, c.image_size, c.image_size


def noisy(denoise, n=41):
    "Inputs of a U-Net: pure noise at times from 1 to T, one image each."
    g = torch.Generator().manual_seed(0)
    return [dict(x=torch.randn(1, *shape_of(denoise), generator=g), t=t[None]) for t in torch.linspace(1, denoise.schedule.T, n).long()]


def start(denoise, seeds):
    "Noise to start from, one image per seed."
    shape = shape_of(denoise)
    return torch.stack([torch.tensor(noise(seed, math.prod(shape))).reshape(shape) for seed in seeds])


def rounded(images, digits=4):
    "Lists of numbers for JSON, one for each image."
    return [[round(v, digits) for v in image.flatten().tolist()] for image in images]


def settings(denoise, **more):
    "What live.js must know of any model: its shape, its schedule and what it predicts."
    channels, size, _ = shape_of(denoise)
    return dict(size=size, channels=channels, prediction=denoise.prediction, clip=denoise.clip, alpha_bars=denoise.schedule.alpha_bars.tolist(), **more)


def reference(denoise):
    "PyTorch's own pictures for four seeds, to test the page against."
    pictures = {}
    for name, sampler in dict(ddim=ddim, dpm_solver=dpm_solver).items():
        *_, (_, x, _) = sampler(denoise, start(denoise, range(4)), steps=50)
        pictures[name] = rounded(x)
    return dict(steps=50, seeds=[0, 1, 2, 3], **pictures)


def png(pixels):
    "Bytes of a PNG with 64 greys, or 256 colours."
    data, image = io.BytesIO(), Image.fromarray(pixels)
    image.quantize(64 if pixels.ndim == 2 else 256, dither=Image.Dither.NONE).save(data, 'PNG', optimize=True)
    return data.getvalue()


def chain(denoise, seeds, columns, scale):
    "uint8 `[H, W(, 3)]`: each row one image, from noise on the left to the finished picture on the right."
    x_T = start(denoise, seeds)
    steps = [x_T] + [x for _, x, _ in ancestral(denoise, x_T, 250, generator=image_generators(0, seeds))]
    level = np.rint(np.linspace(0, 1, columns)**.7*250).astype(int)
    rows = torch.stack([steps[i] for i in level], 1).clamp(-1, 1)               # [n, columns, C, H, W]
    tiles = ((rows + 1)*127.5).round().byte().repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=255)
    a = tiles.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1).numpy()
    return a[..., 0] if a.shape[-1] == 1 else a


def card(strip):
    "1200 × 630 pixels: the name, the promise and the chain."
    image, ink = Image.new('RGB', (1200, 630), '#14181d'), '#f2f5f7'
    strip = Image.fromarray(strip).convert('RGB')
    strip = strip.resize((1200, round(strip.height*1200/strip.width)), Image.Resampling.NEAREST)
    image.paste(strip, (0, 630 - strip.height))
    draw = ImageDraw.Draw(image)
    draw.text((60, 48), 'ddpm_lit', font=ImageFont.load_default(84), fill=ink)
    draw.text((64, 160), 'Denoising diffusion derived, coded, pictured and checked', font=ImageFont.load_default(36), fill='#9fb3c2')
    return np.asarray(image)


def main():
    if len(sys.argv) != 2: sys.exit(__doc__.split('\n\n')[1])
    denoise, config = load_run(sys.argv[1])
    data = graph(denoise.model, noisy(denoise), tolerance)
    if len(data) > biggest: sys.exit(f'that is more than {biggest/1e6} MB: train a smaller model')
    (nbs/'live.onnx').write_bytes(data)
    (nbs/'live.json').write_text(json.dumps(settings(denoise, reference=reference(denoise))) + '\n')
    strip = chain(denoise, HERO, 15, 64//config.model.image_size)
    (nbs/'hero.png').write_bytes(png(strip))
    (nbs/'card.png').write_bytes(png(card(strip[:len(strip)*5//6])))
    for name in ('live.json', 'hero.png', 'card.png'): print(f'{name}: {(nbs/name).stat().st_size/1e3:.0f} kB')


if __name__ == '__main__': main()
