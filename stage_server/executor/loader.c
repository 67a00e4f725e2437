// See loader.h.
#include "stage_server/executor/loader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/exchange/tensor_shape.h"

struct loader {
	const struct model *model;
	uint32_t first, end;
	struct parameter parameter; // the one being put together
	uint32_t index;
	float *values; // NULL: none
	uint64_t received_bytes;
};

bool loader_create(const struct model *model, uint32_t first, uint32_t end, struct loader **ret_loader,
		   struct error *error)
{
	struct loader *loader = calloc(1, sizeof(*loader));
	if (loader == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a loader");
	loader->model = model;
	loader->first = first;
	loader->end = end;
	*ret_loader = loader;
	return true;
}

void loader_destroy(struct loader *loader)
{
	if (loader == NULL)
		return;
	free(loader->values);
	free(loader);
}

static bool refuse_shape(const struct parameter_chunk *chunk, const struct parameter *parameter, struct error *error)
{
	char theirs[DIMENSIONS_TEXT_SIZE], ours[DIMENSIONS_TEXT_SIZE];
	return error_set(error, ERROR_USAGE, "load %s: shape is (%s), plan has (%s)", parameter->name,
			 tensor_dimensions_text(chunk->rank, chunk->shape, theirs),
			 tensor_dimensions_text(parameter->rank, parameter->dimensions, ours));
}

static bool begin(struct loader *loader, const struct parameter_chunk *chunk, struct error *error)
{
	for (uint32_t i = loader->first; i < loader->end; i++) {
		model_parameter(loader->model, i, &loader->parameter);
		if (strcmp(loader->parameter.name, chunk->name) != 0)
			continue;
		const struct parameter *parameter = &loader->parameter;
		if (chunk->rank != parameter->rank ||
		    memcmp(chunk->shape, parameter->dimensions, parameter->rank * sizeof(chunk->shape[0])) != 0)
			return refuse_shape(chunk, parameter, error);
		loader->index = i;
		loader->received_bytes = 0;
		loader->values = malloc(parameter->count * sizeof(float));
		return loader->values != NULL ||
		       error_set(error, ERROR_OUT_OF_MEMORY, "load %s: no memory for %" PRIu64 " values", chunk->name,
				 parameter->count);
	}
	return error_set(error, ERROR_USAGE, "load %.80s: unknown parameter of this stage", chunk->name);
}

bool loader_put(struct loader *loader, const struct parameter_chunk *chunk, const struct rpc_incoming *incoming,
		uint32_t *ret_parameter, float **ret_values, struct error *error)
{
	if (loader->values == NULL && !begin(loader, chunk, error))
		return false;
	uint64_t total = loader->parameter.count * sizeof(float);
	size_t size = rpc_incoming_payload_size(incoming);
	if (strcmp(chunk->name, loader->parameter.name) != 0 || chunk->offset_bytes != loader->received_bytes ||
	    size == 0 || size > total - loader->received_bytes)
		return error_set(
			error, ERROR_PROTOCOL,
			"load %.80s: bytes %" PRIu64 "+%zu came, expected %s from byte %" PRIu64 " of %" PRIu64,
			chunk->name, chunk->offset_bytes, size, loader->parameter.name, loader->received_bytes, total);
	rpc_incoming_copy_payload(incoming, (uint8_t *)loader->values + loader->received_bytes);
	loader->received_bytes += size;
	*ret_values = NULL;
	if (loader->received_bytes < total)
		return true;
	*ret_parameter = loader->index;
	*ret_values = loader->values;
	loader->values = NULL;
	return true;
}
