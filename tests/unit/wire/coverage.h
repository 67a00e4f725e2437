// The round trip of a sample, and which fields of the contract the samples of a program have set.
#pragma once

#include "common/wire/internal.h"

// Writes the sample, demands that the message is `expected` (text.h), sends it through the bytes, reads it, and demands that what was read
// writes the same message. Returns what was read, owned, to wire_free; its arena is its first member.
void *round_trip(const struct codec *codec, const void *sample, const char *expected);
// Demands that each field of the message, and of those in it, was set by a sample.
void demand_all_fields(const ProtobufCMessageDescriptor *type);
// What arrives when these bytes do. NULL with the error.
void *read_bytes(const struct codec *codec, const ProtobufCMessage *message, struct error *error);
