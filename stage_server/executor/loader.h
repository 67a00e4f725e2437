// Parameters that a coordinator sends before the first step: chunks are put together, one parameter at a time.
// Threads: put on gRPC's threads, for one stream never two at once; each whole parameter belongs to who takes it.
#pragma once

#include "common/job/parameter.h"
#include "common/model/model.h"
#include "common/rpc/rpc.h"

struct loader;

// For parameters [first, end) of the model; borrows the model.
bool loader_create(const struct model *model, uint32_t first, uint32_t end, struct loader **ret_loader,
		   struct error *error);
void loader_destroy(struct loader *loader); // takes NULL
// Copies the payload. When that completes a parameter, *ret_values is it, owned, and *ret_parameter its index;
// otherwise NULL. ERROR_USAGE for a name or a shape that the plan has not, ERROR_PROTOCOL for a chunk out of order.
bool loader_put(struct loader *loader, const struct parameter_chunk *chunk, const struct rpc_incoming *incoming,
		uint32_t *ret_parameter, float **ret_values, struct error *error);
