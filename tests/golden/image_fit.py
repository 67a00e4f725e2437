"""Prints the cases of tests/unit/dataset/test_image.c that hold image_fit against Pillow: width, height, side, and the CRC-32 of the
planes that torchvision's Resize(side) and CenterCrop(side) make of the test's picture on a Pillow image. Needs Pillow 11, whose resize
goes over rows first; Pillow 13 goes over columns first where an image is tall, and a few bytes differ by 1."""

import zlib

from PIL import Image

SIZES = [(32, 32, 32), (64, 48, 32), (48, 64, 32), (33, 32, 32), (35, 32, 32), (37, 90, 7), (200, 11, 5), (5, 3, 16), (1, 40, 8),
         (500, 375, 224)]


def picture(width, height):
    return Image.frombytes("RGB", (width, height), bytes((x * x * 3 + y * 7 + x * y + c * 85) % 256 for y in range(height) for x in range(width) for c in range(3)))


def fit(image, side):
    width, height = image.size
    if width <= height:  # torchvision.transforms.functional._compute_resized_output_size
        size = side, int(side * height / width)
    else:
        size = int(side * width / height), side
    image = image.resize(size, Image.BILINEAR)
    left, top = int(round((size[0] - side) / 2.0)), int(round((size[1] - side) / 2.0))  # center_crop
    return image.crop((left, top, left + side, top + side))


for width, height, side in SIZES:
    planes = b"".join(plane.tobytes() for plane in fit(picture(width, height), side).split())
    print(f"\t\t{{{width}, {height}, {side}, 0x{zlib.crc32(planes):08x}}},")
