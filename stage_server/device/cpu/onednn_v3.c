// onednn_api.h for oneDNN 3.x, where descriptions are opaque and a primitive is described in one step.
#include <string.h>

#include "stage_server/device/cpu/onednn_api.h"

#if DNNL_VERSION_MAJOR != 3
#error "this file is for oneDNN 3.x"
#endif

api_desc api_desc_create(uint32_t rank, const int64_t *dimensions, dnnl_format_tag_t tag)
{
	dnnl_dims_t all = {0};
	memcpy(all, dimensions, rank * sizeof(all[0]));
	dnnl_memory_desc_t desc = NULL;
	return dnnl_memory_desc_create_with_tag(&desc, (int)rank, all, dnnl_f32, tag) == dnnl_success ? desc : NULL;
}

void api_desc_destroy(api_desc desc)
{
	if (desc != NULL)
		dnnl_memory_desc_destroy((dnnl_memory_desc_t)desc);
}

bool api_desc_is_empty(api_desc desc)
{
	int rank = 0;
	return desc == NULL || dnnl_memory_desc_query(desc, dnnl_query_ndims_s32, &rank) != dnnl_success || rank == 0;
}

dnnl_status_t api_describe_convolution(dnnl_engine_t engine, enum kernel_pass pass, dnnl_alg_kind_t algorithm,
				       const struct api_window *w, const_dnnl_primitive_attr_t attributes,
				       const_dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description)
{
	if (pass == PASS_FORWARD)
		return dnnl_convolution_forward_primitive_desc_create(
			ret_description, engine, dnnl_forward_training, algorithm, w->source, w->weights, w->bias,
			w->destination, w->strides, dense, w->padding, w->padding, attributes);
	if (pass == PASS_BACKWARD_INPUT)
		return dnnl_convolution_backward_data_primitive_desc_create(
			ret_description, engine, algorithm, w->source, w->weights, w->destination, w->strides, dense,
			w->padding, w->padding, forward, attributes);
	return dnnl_convolution_backward_weights_primitive_desc_create(
		ret_description, engine, algorithm, w->source, w->weights, w->bias, w->destination, w->strides, dense,
		w->padding, w->padding, forward, attributes);
}

dnnl_status_t api_describe_max_pool(dnnl_engine_t engine, enum kernel_pass pass, bool training,
				    const struct api_window *w, const_dnnl_primitive_attr_t attributes,
				    const_dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description)
{
	if (pass == PASS_FORWARD)
		return dnnl_pooling_forward_primitive_desc_create(
			ret_description, engine, training ? dnnl_forward_training : dnnl_forward_inference,
			dnnl_pooling_max, w->source, w->destination, w->strides, w->kernel, dense, w->padding,
			w->padding, attributes);
	return dnnl_pooling_backward_primitive_desc_create(ret_description, engine, dnnl_pooling_max, w->source,
							   w->destination, w->strides, w->kernel, dense, w->padding,
							   w->padding, forward, attributes);
}
