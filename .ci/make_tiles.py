#!/usr/bin/env python3
"""Make the sheet of colour tiles inside ddpm_lit out of the tiles of Dungeon Crawl Stone Soup (CC0).

    git clone https://github.com/crawl/tiles
    python .ci/make_tiles.py tiles/releases/Nov-2015 [--out ddpm_lit/assets]

The rule: whole creatures (mon, but for the folders named in LEFT_OUT) and whole items (item), each 32 x 32 pixels and laid
on white; test pictures, repeated ones, and those with colour on less than a fifth of their area are dropped. Of what remains, in the
order of their names, 160 creatures and 96 items are taken at even distances. One RGB PNG, 16 tiles a row, creatures first.
"""
import argparse, hashlib, io, os
from pathlib import Path
import numpy as np
from PIL import Image, PngImagePlugin

SHA256 = '85440877a4419a34bc7255fba4ee16ca24a06966efbcd05b44c50663cac01c13'  # of the decoded pixels, uint8 [N, 32, 32, 3]
WANTED = {'mon': 160, 'item': 96}
LEFT_OUT = ('abyss', 'demonspawn', 'draco', 'sprint', 'statues', 'tentacles', 'undead', 'vault')
COLUMNS, SIDE = 16, 32

def on_white(path):
    "The pixels of one tile, uint8 [32, 32, 3], laid on white."
    image = Image.open(path, formats=['PNG']).convert('RGBA')
    return np.array(Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image).convert('RGB'))

def candidates(folder):
    "Whole, large and different tiles under `folder`, by name."
    found = {}
    for path in sorted(folder.rglob('*.png')):
        if path.relative_to(folder).parts[0] in LEFT_OUT or 'test' in path.stem: continue
        tile = on_white(path)
        if tile.shape == (SIDE, SIDE, 3) and (tile < 255).any(2).mean() >= .2: found.setdefault(tile.tobytes(), tile)
    return list(found.values())

def evenly(tiles, n): return [tiles[i*len(tiles)//n] for i in range(n)]

def sheet(x):
    "[N, 32, 32, 3] -> one picture, COLUMNS tiles a row, row by row."
    return x.reshape(-1, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2).reshape(-1, COLUMNS*SIDE, 3)

def png(picture):
    info = PngImagePlugin.PngInfo()
    info.add_text('Source', 'https://github.com/crawl/tiles, releases/Nov-2015')
    info.add_text('Copyright', 'Dungeon Crawl Stone Soup tiles, CC0 1.0, see LICENSE.tiles')
    f = io.BytesIO(); Image.fromarray(picture).save(f, 'PNG', optimize=True, pnginfo=info)
    return f.getvalue()

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', type=Path)
    p.add_argument('--out', type=Path, default=Path(__file__).resolve().parent.parent/'ddpm_lit'/'assets')
    a = p.parse_args()
    chosen = []
    for name, n in WANTED.items():
        if not (a.folder/name).is_dir(): raise SystemExit(f'there is no folder {a.folder/name}')
        tiles = candidates(a.folder/name)
        print(f'{name}: {n} of {len(tiles)}')
        chosen += evenly(tiles, n)
    x = np.stack(chosen)
    sha = hashlib.sha256(x.tobytes()).hexdigest()
    print(f'{len(x)} tiles, sha256 {sha}')
    if sha != SHA256: raise SystemExit(f'the pixels differ from those published ({SHA256})')
    path = a.out/'tiles.png'
    tmp = path.with_suffix('.tmp'); tmp.write_bytes(png(sheet(x))); os.replace(tmp, path)
    print(f'{path.name}: {path.stat().st_size:,} bytes')

if __name__ == '__main__': main()
