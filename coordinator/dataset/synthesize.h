// Draws a small learnable set, 10 classes by a rule, in CIFAR-10's file format.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

// Writes data_batch_1.bin ... 5 and test_batch.bin, `images_per_file` each (labels in equal shares, in random order).
// Every file is written whole or not at all. ERROR_USAGE also when another process is writing a set into the folder.
bool synthesize_cifar10(const char *folder, uint32_t images_per_file, uint64_t seed, struct error *error);
