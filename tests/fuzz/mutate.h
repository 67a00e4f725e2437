// Damage to a protobuf message that leaves it a message: most of what libFuzzer does to the bytes is none any more.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

// libFuzzer's LLVMFuzzerCustomMutator for inputs that are a message of `type`: changes a number, or the place of an element of a
// list; or, now and then, and where the input is no message, whatever libFuzzer itself would do.
size_t mutate_message(const ProtobufCMessageDescriptor *type, uint8_t *data, size_t size, size_t maximum,
		      unsigned seed);
