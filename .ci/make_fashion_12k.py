#!/usr/bin/env python3
"""Make the embedded data set of ddpm_lit out of Fashion-MNIST (Zalando Research, MIT licence).

    python .ci/make_fashion_12k.py FOLDER [--out ddpm_lit/assets]

FOLDER holds the four IDX files, gzipped or not, flat or as torchvision lays them out (FashionMNIST/raw).
The rule: of every class the first 1,000 training images and the first 200 test images, in the original order,
laid out column by column: image k of the result has label k % 10 and is number k // 10 of its class, so the labels
need no file and every prefix of 10 n images is balanced. One greyscale PNG a split, 100 tiles of 28 x 28 a row.
"""
import argparse, gzip, hashlib, io, os
from pathlib import Path
import numpy as np
from PIL import Image, PngImagePlugin

SHA256 = {  # of the decoded pixels, uint8 [N, 28, 28] in C order
    'train': '86dc874cb93f2bd50f6319849c2baf224b877e8d74ecb5b8fbe6fca3b7d87aff',
    'test': 'a9a3fef60943d6c23d218c668ff2a8e2537003dbf7a653b962a95bcf38a209bb'}
N_PER_CLASS = {'train': 1000, 'test': 200}
COLUMNS, SIDE = 100, 28

def idx(folder, name):
    "The bytes of one IDX file."
    for path in [p/f for p in (folder, folder/'FashionMNIST'/'raw', folder/'raw') for f in (name, name + '.gz')]:
        if path.is_file(): return gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
    raise SystemExit(f"{name}[.gz] is neither in {folder} nor in {folder/'FashionMNIST'/'raw'}")

def images_and_labels(folder, split):
    prefix = {'train': 'train', 'test': 't10k'}[split]
    y = np.frombuffer(idx(folder, f'{prefix}-labels-idx1-ubyte'), np.uint8, offset=8)
    x = np.frombuffer(idx(folder, f'{prefix}-images-idx3-ubyte'), np.uint8, offset=16)
    return x.reshape(len(y), SIDE, SIDE), y

def choose(y, n):
    "Indices of the first n of each class, classes in turn: 0, 1, …, 9, 0, 1, …"
    return np.stack([np.flatnonzero(y == c)[:n] for c in range(10)], axis=1).ravel()

def sprite(x):
    "[N, 28, 28] -> one picture, COLUMNS tiles a row, row by row."
    return x.reshape(-1, COLUMNS, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(-1, COLUMNS*SIDE)

def png(picture):
    info = PngImagePlugin.PngInfo()
    info.add_text('Source', 'https://github.com/zalandoresearch/fashion-mnist')
    info.add_text('Copyright', 'Copyright (c) 2017 Zalando SE, MIT licence, see LICENSE.fashion-mnist')
    f = io.BytesIO(); Image.fromarray(picture).save(f, 'PNG', optimize=True, pnginfo=info)
    return f.getvalue()

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', type=Path)
    p.add_argument('--out', type=Path, default=Path(__file__).resolve().parent.parent/'ddpm_lit'/'assets')
    a = p.parse_args()
    done = {}
    for split, n in N_PER_CLASS.items():
        x, y = images_and_labels(a.folder, split)
        i = choose(y, n)
        x, y = x[i], y[i]
        sha = hashlib.sha256(x.tobytes()).hexdigest()
        print(f'{split}: {len(x)} images, {np.bincount(y).tolist()} a class, sha256 {sha}')
        if (y != np.arange(len(y)) % 10).any() or len(x) != 10*n: raise SystemExit(f'{split}: not balanced')
        if sha != SHA256[split]: raise SystemExit(f'{split}: the pixels differ from those published ({SHA256[split]})')
        done[split] = png(sprite(x))
    for split, data in done.items():           # nothing is written before everything is right
        path = a.out/f'fashion-12k-{split}.png'
        tmp = path.with_suffix('.tmp'); tmp.write_bytes(data); os.replace(tmp, path)
        print(f'{path.name}: {len(data):,} bytes')

if __name__ == '__main__': main()
