// A message as text, by its descriptor alone: what a table wrote, told by something that does not know the table.
#pragma once

#include <protobuf-c/protobuf-c.h>

// "step: 1 run { name: \"a\" }": the fields that are set, in the contract's order. Returns owned.
char *message_text(const ProtobufCMessage *message);
