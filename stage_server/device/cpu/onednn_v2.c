// onednn_api.h for oneDNN 2.6 and later 2.x, where descriptions of tensors are values and a primitive is described in two steps.
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cpu/onednn_api.h"

#if DNNL_VERSION_MAJOR != 2
#error "this file is for oneDNN 2.x"
#endif

api_desc api_desc_create(uint32_t rank, const int64_t *dimensions, dnnl_format_tag_t tag)
{
	dnnl_dims_t all = {0};
	memcpy(all, dimensions, rank * sizeof(all[0]));
	dnnl_memory_desc_t *desc = calloc(1, sizeof(*desc));
	if (desc != NULL && dnnl_memory_desc_init_by_tag(desc, (int)rank, all, dnnl_f32, tag) == dnnl_success)
		return desc;
	free(desc);
	return NULL;
}

void api_desc_destroy(api_desc desc)
{
	free((dnnl_memory_desc_t *)desc);
}

bool api_desc_is_empty(api_desc desc)
{
	return desc == NULL || desc->ndims == 0;
}

dnnl_status_t api_describe_convolution(dnnl_engine_t engine, enum kernel_pass pass, dnnl_alg_kind_t algorithm,
				       const struct api_window *w, const_dnnl_primitive_attr_t attributes,
				       const_dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description)
{
	dnnl_convolution_desc_t operation;
	dnnl_status_t status;
	if (pass == PASS_FORWARD)
		status = dnnl_convolution_forward_desc_init(&operation, dnnl_forward_training, algorithm, w->source,
							    w->weights, w->bias, w->destination, w->strides, w->padding,
							    w->padding);
	else if (pass == PASS_BACKWARD_INPUT)
		status = dnnl_convolution_backward_data_desc_init(&operation, algorithm, w->source, w->weights,
								  w->destination, w->strides, w->padding, w->padding);
	else
		status = dnnl_convolution_backward_weights_desc_init(&operation, algorithm, w->source, w->weights,
								     w->bias, w->destination, w->strides, w->padding,
								     w->padding);
	return status != dnnl_success
		       ? status
		       : dnnl_primitive_desc_create(ret_description, &operation, attributes, engine, forward);
}

dnnl_status_t api_describe_max_pool(dnnl_engine_t engine, enum kernel_pass pass, bool training,
				    const struct api_window *w, const_dnnl_primitive_attr_t attributes,
				    const_dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description)
{
	dnnl_pooling_desc_t operation;
	dnnl_status_t status;
	if (pass == PASS_FORWARD)
		status = dnnl_pooling_forward_desc_init(
			&operation, training ? dnnl_forward_training : dnnl_forward_inference, dnnl_pooling_max,
			w->source, w->destination, w->strides, w->kernel, w->padding, w->padding);
	else
		status = dnnl_pooling_backward_desc_init(&operation, dnnl_pooling_max, w->source, w->destination,
							 w->strides, w->kernel, w->padding, w->padding);
	return status != dnnl_success
		       ? status
		       : dnnl_primitive_desc_create(ret_description, &operation, attributes, engine, forward);
}
