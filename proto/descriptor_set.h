// The files of this folder, compiled: a google.protobuf.FileDescriptorSet. Made by the build. Any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t descriptor_set[];
extern const size_t descriptor_set_bytes;
