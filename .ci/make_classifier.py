#!/usr/bin/env python3
"""Train the shipped classifier of chapter 12 again, from a fixed seed: about 3 minutes on one core.

usage: make_classifier.py [PATH]     default: ddpm_lit/assets/classifier.safetensors
The same machine and torch version give the same file; another one gives a classifier as good, not the same one,
and scores compare only within one classifier.
"""
import sys
from pathlib import Path
from ddpm_lit.data import load_images
from ddpm_lit.evaluation import features, save_classifier, train_classifier

default = Path(__file__).resolve().parent.parent/'ddpm_lit/assets/classifier.safetensors'


def main(args):
    net = train_classifier(load_images('fashion-12k', 'train', size=32), log_every=250)
    save_classifier(net, args[0] if args else default)
    for size in (16, 28, 32):
        test = load_images('fashion-12k', 'test', size=size)
        right = features(test.images, net).argmax(1) == test.labels
        print(f'accuracy on the test images at {size}x{size}: {right.double().mean():.4f}')


if __name__ == '__main__': main(sys.argv[1:])
