// What differs between the major versions of oneDNN's API: onednn_v2.c or onednn_v3.c. All the rest is in onednn.c, the only
// one that calls this.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include "stage_server/device/cpu/onednn.h"

#if DNNL_VERSION_MAJOR == 2
typedef const dnnl_memory_desc_t *api_desc; // of a tensor
#else
typedef const_dnnl_memory_desc_t api_desc;
#endif

api_desc api_desc_create(uint32_t rank, const int64_t *dimensions, dnnl_format_tag_t tag); // float32; NULL: it failed
void api_desc_destroy(api_desc desc);  // takes NULL; of those that api_desc_create made
bool api_desc_is_empty(api_desc desc); // takes NULL

struct api_window {
	api_desc source, weights, bias, destination; // of a pool: no weights, no bias
	dnnl_dims_t strides, padding, kernel;
};

// `forward` is the description of the pass forward, for the other passes.
dnnl_status_t api_describe_convolution(dnnl_engine_t engine, enum kernel_pass pass, dnnl_alg_kind_t algorithm,
				       const struct api_window *window, const_dnnl_primitive_attr_t attributes,
				       const_dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description);
dnnl_status_t api_describe_max_pool(dnnl_engine_t engine, enum kernel_pass pass, bool training,
				    const struct api_window *window, const_dnnl_primitive_attr_t attributes,
				    const_dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description);
