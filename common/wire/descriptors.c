// See descriptors.h. A name is looked up by walking down the tree of what a file defines: our files are few and small.
#include "common/wire/descriptors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "proto/descriptor_set.h"

typedef Google__Protobuf__FileDescriptorProto File;
typedef Google__Protobuf__DescriptorProto Message;
typedef Google__Protobuf__EnumDescriptorProto Enum;
typedef Google__Protobuf__ServiceDescriptorProto Service;

struct descriptors {
	Google__Protobuf__FileDescriptorSet *set;
	struct descriptor_file *files; // [set->n_file]
	char **services;               // [service_count]; full names
	uint32_t service_count;
};

// What follows `name` and its dot in `symbol`; "" when nothing does, NULL when `symbol` does not begin with it.
static const char *after(const char *symbol, const char *name)
{
	size_t length = strlen(name);
	if (strncmp(symbol, name, length) != 0)
		return NULL;
	return symbol[length] == '.' ? symbol + length + 1 : symbol[length] == '\0' ? symbol + length : NULL;
}

static bool is_enum(Enum *const *enums, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(symbol, enums[i]->name) == 0)
			return true;
		for (size_t v = 0; v < enums[i]->n_value; v++) // values are named in their enum's own scope, as in C
			if (strcmp(symbol, enums[i]->value[v]->name) == 0)
				return true;
	}
	return false;
}

static bool is_field(Google__Protobuf__FieldDescriptorProto *const *fields, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(symbol, fields[i]->name) == 0)
			return true;
	return false;
}

static bool is_message_only(Message *const *messages, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count; i++) {
		const char *rest = after(symbol, messages[i]->name);
		if (rest != NULL &&
		    (rest[0] == '\0' || is_message_only(messages[i]->nested_type, messages[i]->n_nested_type, rest)))
			return true;
	}
	return false;
}

// A message, or something within one.
static bool is_message(Message *const *messages, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count; i++) {
		const Message *message = messages[i];
		const char *rest = after(symbol, message->name);
		if (rest == NULL)
			continue;
		if (rest[0] == '\0' || is_message(message->nested_type, message->n_nested_type, rest) ||
		    is_enum(message->enum_type, message->n_enum_type, rest) ||
		    is_field(message->field, message->n_field, rest) ||
		    is_field(message->extension, message->n_extension, rest))
			return true;
		for (size_t o = 0; o < message->n_oneof_decl; o++)
			if (strcmp(rest, message->oneof_decl[o]->name) == 0)
				return true;
	}
	return false;
}

static bool is_service(Service *const *services, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count; i++) {
		const char *rest = after(symbol, services[i]->name);
		if (rest != NULL && rest[0] == '\0')
			return true;
		for (size_t m = 0; rest != NULL && m < services[i]->n_method; m++)
			if (strcmp(rest, services[i]->method[m]->name) == 0)
				return true;
	}
	return false;
}

// The name within the file's package; NULL when it is of another one.
static const char *within_package(const File *file, const char *symbol)
{
	const char *rest = file->package == NULL || file->package[0] == '\0' ? symbol : after(symbol, file->package);
	return rest != NULL && rest[0] != '\0' ? rest : NULL;
}

static bool defines(const File *file, const char *symbol)
{
	const char *rest = within_package(file, symbol);
	return rest != NULL &&
	       (is_message(file->message_type, file->n_message_type, rest) ||
		is_enum(file->enum_type, file->n_enum_type, rest) || is_service(file->service, file->n_service, rest) ||
		is_field(file->extension, file->n_extension, rest));
}

const struct descriptor_file *descriptors_find_file(const struct descriptors *descriptors, const char *name)
{
	for (size_t i = 0; i < descriptors->set->n_file; i++)
		if (strcmp(descriptors->files[i].name, name) == 0)
			return &descriptors->files[i];
	return NULL;
}

const struct descriptor_file *descriptors_find_symbol(const struct descriptors *descriptors, const char *symbol)
{
	for (size_t i = 0; i < descriptors->set->n_file; i++)
		if (defines(descriptors->set->file[i], symbol))
			return &descriptors->files[i];
	return NULL;
}

bool descriptors_have_message(const struct descriptors *descriptors, const char *name)
{
	for (size_t i = 0; i < descriptors->set->n_file; i++) {
		const File *file = descriptors->set->file[i];
		const char *rest = within_package(file, name);
		if (rest != NULL && is_message_only(file->message_type, file->n_message_type, rest))
			return true;
	}
	return false;
}

const char *descriptors_service(const struct descriptors *descriptors, uint32_t index)
{
	return index < descriptors->service_count ? descriptors->services[index] : NULL;
}

bool descriptors_have_service(const struct descriptors *descriptors, const char *name)
{
	for (uint32_t i = 0; i < descriptors->service_count; i++)
		if (strcmp(descriptors->services[i], name) == 0)
			return true;
	return false;
}

static bool keep_file(const File *file, struct descriptor_file *ret_file)
{
	uint8_t *bytes = malloc(google__protobuf__file_descriptor_proto__get_packed_size(file));
	if (bytes == NULL)
		return false;
	*ret_file = (struct descriptor_file){
		.name = file->name, .bytes = bytes, .size = google__protobuf__file_descriptor_proto__pack(file, bytes)};
	return true;
}

static bool keep_services(struct descriptors *descriptors)
{
	const Google__Protobuf__FileDescriptorSet *set = descriptors->set;
	size_t count = 0;
	for (size_t i = 0; i < set->n_file; i++)
		count += set->file[i]->n_service;
	descriptors->services = calloc(count + 1, sizeof(*descriptors->services));
	for (size_t i = 0; i < set->n_file && descriptors->services != NULL; i++)
		for (size_t s = 0; s < set->file[i]->n_service; s++) {
			char **name = &descriptors->services[descriptors->service_count];
			if (asprintf(name, "%s.%s", set->file[i]->package, set->file[i]->service[s]->name) < 0)
				return false;
			descriptors->service_count++;
		}
	return descriptors->services != NULL;
}

struct descriptors *descriptors_create(void)
{
	struct descriptors *descriptors = calloc(1, sizeof(*descriptors));
	if (descriptors == NULL)
		return NULL;
	descriptors->set = google__protobuf__file_descriptor_set__unpack(NULL, descriptor_set_bytes, descriptor_set);
	bool ok = descriptors->set != NULL;
	if (ok)
		descriptors->files = calloc(descriptors->set->n_file, sizeof(*descriptors->files));
	ok = ok && descriptors->files != NULL && keep_services(descriptors);
	for (size_t i = 0; ok && i < descriptors->set->n_file; i++)
		ok = keep_file(descriptors->set->file[i], &descriptors->files[i]);
	if (ok)
		return descriptors;
	descriptors_destroy(descriptors);
	return NULL;
}

void descriptors_destroy(struct descriptors *descriptors)
{
	if (descriptors == NULL)
		return;
	for (size_t i = 0; descriptors->files != NULL && i < descriptors->set->n_file; i++)
		free((void *)descriptors->files[i].bytes);
	for (uint32_t i = 0; i < descriptors->service_count; i++)
		free(descriptors->services[i]);
	if (descriptors->set != NULL)
		google__protobuf__file_descriptor_set__free_unpacked(descriptors->set, NULL);
	free(descriptors->files);
	free(descriptors->services);
	free(descriptors);
}
