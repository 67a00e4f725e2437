"""--dataset in every format: the same samples give the same losses, the first line says what came, and bad data is refused by name."""

import io
import os
import re
import shutil
import signal
import struct
import tarfile
import time
import zlib

import harness


def png(width, height, pixels):
    """A file of 8-bit RGB; `pixels` is (height, width, 3)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + pixels[at:at + 3 * width] for at in range(0, len(pixels), 3 * width))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def interleave(planes):
    """(3, 32, 32) to (32, 32, 3)."""
    pixels = bytearray(3072)
    for channel in range(3):
        pixels[channel::3] = planes[1024 * channel:1024 * (channel + 1)]
    return bytes(pixels)


class Dataset(harness.TestCase):
    images = 12

    def at(self, name):
        return os.path.join(self.folder, name)

    def records(self):
        """(label, planes) of the set, in the order of a folder of classes."""
        records = []
        for number in range(1, 6):
            with open(os.path.join(self.dataset, f"data_batch_{number}.bin"), "rb") as file:
                content = file.read()
            records += [(content[at], content[at + 1:at + 3073]) for at in range(0, len(content), 3073)]
        return sorted(records, key=lambda record: record[0])

    def binary(self, name, records, prefix=b""):
        os.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
        with open(self.at(name), "wb") as file:
            for label, planes in records:
                file.write(prefix + bytes([label]) + planes)

    def classes(self, name, records):
        """A folder of classes; returns its path."""
        for index, (label, planes) in enumerate(records):
            folder = os.path.join(self.at(name), f"class {label}")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"{index:04}.png"), "wb") as file:
                file.write(png(32, 32, interleave(planes)))
        return self.at(name)

    def archive(self, name, files, mode="w"):
        with tarfile.open(self.at(name), mode) as archive:
            for file, data in files:
                member = tarfile.TarInfo(file)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return self.at(name)

    def webdataset(self, name, records, mode="w"):
        files = []
        for index, (label, planes) in enumerate(records):
            files += [(f"{index:06}.cls", str(label).encode()), (f"{index:06}.png", png(32, 32, interleave(planes)))]
        return self.archive(name, files, mode)

    def train_on(self, dataset, *arguments, **how):
        path = self.at("steps.json")
        run = self.penstock("train", "--dataset", dataset, *self.small, "--local", 2, "--threads", 1, "--steps", 4, "--json", path, *arguments, **how)
        return [line["loss"] for line in harness.read_json_lines(path) if line["type"] == "step"], run.error

    def test_the_same_samples_in_every_format_give_the_same_losses(self):
        records = self.records()
        self.binary("ten/data_batch_1.bin", records)
        expected, said = self.train_on(self.at("ten"))
        self.assertEqual(len(set(expected)), 4)
        self.assertRegex(said, r"^CIFAR-10 \(binary\): 60 images of 3 x 32 x 32, 10 classes; no validation part\nimages resized to 63 x 63;\n")
        for dataset, words in (
                (self.classes("folder", records), r'folder of classes: 60 images of 3 x 32 x 32, 10 classes \(class 0, class 1,'),
                (self.webdataset("set.tar", records), r"WebDataset \(tar\): 60 images of 3 x 32 x 32, 10 classes; no validation part"),
                (self.webdataset("set.tar.gz", records, "w:gz"), r"WebDataset \(tar\): 60 images")):
            with self.subTest(dataset=dataset):
                losses, said = self.train_on(dataset)
                self.assertEqual(losses, expected)
                self.assertRegex(said, "^" + words)

    def test_cifar_100_has_100_classes(self):
        records = [(label + 90, planes) for label, planes in self.records()]
        self.binary("hundred/train.bin", records, b"\x05")
        self.binary("hundred/test.bin", records[:3], b"\x05")
        expected, said = self.train_on(self.at("hundred"))
        self.assertRegex(said, r"^CIFAR-100 \(binary\): 60 images of 3 x 32 x 32, 100 classes; validation: test\n")
        with open(os.path.join(self.at("hundred"), "train.bin"), "rb") as file:
            archive = self.archive("cifar-100-binary.tar.gz", [("cifar-100-binary/train.bin", file.read())], "w:gz")
        self.assertEqual(self.train_on(archive)[0], expected)

    def test_classes_and_sizes(self):
        folder = self.classes("parts/train", self.records()[:30])  # of 5 classes
        shutil.copytree(os.path.join(folder, "class 1"), os.path.join(self.at("parts"), "val", "class 1"))
        with open(os.path.join(folder, "class 1", "photo.png"), "wb") as file:
            file.write(png(90, 50, bytes(range(250)) * 54))
        classes = len(os.listdir(folder))
        losses, said = self.train_on(self.at("parts"))
        self.assertRegex(said.replace("\n", " "), rf"^folder of classes: 31 images of 3 x 63 x 63, resized and cropped, {classes} classes .*; validation: folder val ")
        self.assertEqual(self.train_on(self.at("parts"), "--classes", classes)[0], losses)
        self.assertNotEqual(self.train_on(self.at("parts"), "--classes", 10)[0], losses)
        run = self.penstock("train", "--dataset", self.at("parts"), "--local", 1, "--classes", classes - 1, code=2)
        self.assertIn(f"--classes {classes - 1}: the dataset has labels up to {classes - 1}", run.error)

    def test_bad_data_is_refused_by_name(self):
        records = self.records()
        folder = self.classes("bad", records)

        def refuse(words, path):
            with self.subTest(words=words):
                run = self.penstock("train", "--dataset", path, *self.small, "--local", 1, "--steps", 2, code=2, seconds=30)
                self.assertRegex(run.error, rf"penstock: .*{words}")
        refuse(r"dataset .*/none: is none of the formats that are read. In the folder it was looked for: CIFAR-10: .*; CIFAR-100: .*; a folder for each class",
               os.makedirs(self.at("none")) or self.at("none"))
        refuse(r"notes: is damaged, or not a tar archive.* A dataset is a folder, or a tar archive", self.archive("notes", []) and self.write("notes", b"text"))
        refuse(r"other.tar: is none of the formats .* WebDataset: KEY.jpg", self.archive("other.tar", [("a.txt", b"text")]))
        refuse(r"out.tar: member ../1.png leaves the folder of the archive", self.archive("out.tar", [("../1.png", b"text"), ("../1.cls", b"0")]))
        refuse(r"root.tar: member /1.png leaves the folder", self.archive("root.tar", [("/1.png", b"text")]))
        refuse(r"label.tar: 1.cls: has 301 classes; the maximum is 256", self.archive("label.tar", [("1.png", b"text"), ("1.cls", b"300")]))
        refuse(r"lone.tar: sample 1 has an image, but no .cls", self.archive("lone.tar", [("1.png", b"text"), ("2.cls", b"1")]))
        os.makedirs(os.path.join(folder, "class x"))
        refuse(r"bad: class folder class x is empty: it has no .jpg, .jpeg or .png file", folder)
        os.rmdir(os.path.join(folder, "class x"))
        os.symlink("..", os.path.join(folder, "class 0", "again"))
        refuse(r"bad/class 0/again: is a symbolic link to a folder that contains it", folder)
        os.unlink(os.path.join(folder, "class 0", "again"))
        name = os.path.join(folder, "class 0", "0000.png")
        self.write(name, b"no image")
        refuse(r"image 0 \(from 0\): .*/class 0/0000.png: is neither JPEG nor PNG", folder)
        bomb = png(32, 32, bytes(3072)).replace(struct.pack(">II", 32, 32), struct.pack(">II", 60000, 60000))
        self.write(name, bomb[:29] + struct.pack(">I", zlib.crc32(bomb[12:29])) + bomb[33:])
        refuse(r"class 0/0000.png: is 60000 x 60000; the maximum is 65500 on a side", folder)

    def write(self, path, data):
        with open(self.at(path), "wb") as file:
            file.write(data)
        return self.at(path)

    def test_image_that_does_not_decode_ends_the_run_and_frees_the_daemons(self):
        daemons = self.start_daemons(2)
        folder = self.classes("late", self.records())
        name = os.path.join(folder, "class 4", sorted(os.listdir(os.path.join(folder, "class 4")))[0])
        with open(name, "rb") as file:
            content = file.read()
        self.write(name, content[:200])  # its header is good
        run = self.penstock("train", "--dataset", folder, *self.small, "-H", self.hostfile(daemons), "--steps", 50, code=2)
        self.assertRegex(run.error, r"penstock: .*dataset: image \d+ \(from 0\): .*/class 4/\d+.png: does not decode: it is cut short\n")
        for daemon in daemons:
            daemon.wait_until_free(5)
        self.write(name, content)
        self.penstock("train", "--dataset", folder, *self.small, "-H", self.hostfile(daemons), "--steps", 2)

    def test_interrupt_while_images_are_read(self):
        daemons = self.start_daemons(1)
        folder = self.at("large")
        for label in "ab":
            os.makedirs(os.path.join(folder, label))
            self.write(os.path.join(folder, label, "1.png"), png(4000, 4000, bytes(4000 * 4000 * 3)))
        run = self.begin("train", "--dataset", folder, *self.small[:2], "--micro-batch-size", 2, "--gradient-accumulation-steps", 1, "--lr", 0.01,
                         "-H", self.hostfile(daemons), "--steps", 1000)
        time.sleep(2)
        run.process.send_signal(signal.SIGINT)
        run.finish(20)
        self.assertRegex(run.error, "interrupted")
        self.assertTrue(re.search("3 x 63 x 63, resized and cropped", run.error.replace("\n", " ")))
        daemons[0].wait_until_free(5)


if __name__ == "__main__":
    harness.main()
