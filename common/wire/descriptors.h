// The descriptors of the services that this program serves, to look names up in. Any thread: nothing changes after creation.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptors;

struct descriptor_file {
	const char *name;
	const uint8_t *bytes; // a google.protobuf.FileDescriptorProto
	size_t size;
};

struct descriptors *descriptors_create(void);              // NULL when memory is out
void descriptors_destroy(struct descriptors *descriptors); // takes NULL
// The full name of a service; NULL when there are not so many.
const char *descriptors_service(const struct descriptors *descriptors, uint32_t index);
bool descriptors_have_service(const struct descriptors *descriptors, const char *name);
bool descriptors_have_message(const struct descriptors *descriptors, const char *name);
// NULL: there is none. Borrowed.
const struct descriptor_file *descriptors_find_file(const struct descriptors *descriptors, const char *name);
// `symbol`: anything that a file defines, by its full name: a message, a field, an enum or one of its values, a service, a method.
const struct descriptor_file *descriptors_find_symbol(const struct descriptors *descriptors, const char *symbol);
