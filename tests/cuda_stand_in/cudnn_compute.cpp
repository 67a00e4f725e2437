// The computing part of cuDNN's stand-in (see cudnn.cpp): convolutions, sums and ReLU, in float32, with plain loops whose innermost
// runs over channels.
#include <cudnn.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "tests/cuda_stand_in/cudnn_graph.hpp"
#include "tests/cuda_stand_in/elements.hpp"

namespace cudnn_stand_in
{
convolution_names names_of(int type)
{
	if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
		return {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
			CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
			CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
			CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
			CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
			CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
	if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
		return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
	return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
		CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
		CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
		CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
		CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
		CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

void tensors_of(const descriptor &operation, std::vector<reference> *reads, reference *writes)
{
	if (operation.type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
		reads->push_back(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
		if (operation.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC))
			reads->push_back(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
		*writes = operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
		return;
	}
	convolution_names names = names_of(operation.type);
	reference x = operation.linked(names.x), w = operation.linked(names.w), y = operation.linked(names.y);
	if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
		*reads = {x, w}, *writes = y;
	else if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
		*reads = {w, y}, *writes = x;
	else
		*reads = {x, y}, *writes = w;
}

namespace
{
// The tensors' values while a graph runs, dense with channels innermost, float32 whatever they are in memory.
struct run {
	std::map<int64_t, void *> memory;
	std::map<int64_t, std::vector<float>> values;

	static elements::type type_of(const shape &shape)
	{
		return shape.type == CUDNN_DATA_HALF       ? elements::type::float16
		       : shape.type == CUDNN_DATA_BFLOAT16 ? elements::type::bfloat16
							   : elements::type::float32;
	}

	template <typename F> static void each(const shape &shape, F function)
	{
		const int64_t *d = shape.dimensions, *s = shape.strides;
		int64_t dense = 0;
		for (int64_t n = 0; n < d[0]; n++)
			for (int64_t h = 0; h < d[2]; h++)
				for (int64_t w = 0; w < d[3]; w++)
					for (int64_t c = 0; c < d[1]; c++)
						function(dense++, n * s[0] + c * s[1] + h * s[2] + w * s[3]);
	}

	const std::vector<float> &load(const reference &tensor)
	{
		shape shape(*tensor);
		std::vector<float> &into = values[shape.uid];
		if (!shape.is_virtual) {
			into.resize(shape.count());
			const void *from = memory.at(shape.uid);
			each(shape, [&](int64_t dense, int64_t place) {
				into[dense] = elements::load(type_of(shape), from, place);
			});
		}
		return into;
	}

	void store(const reference &tensor, std::vector<float> result)
	{
		shape shape(*tensor);
		if (!shape.is_virtual) {
			void *to = memory.at(shape.uid);
			each(shape, [&](int64_t dense, int64_t place) {
				elements::store(type_of(shape), to, place, result[dense]);
			});
			return;
		}
		for (float &value : result)
			value = elements::round(type_of(shape), value);
		values[shape.uid] = std::move(result);
	}
};

struct geometry {
	int64_t samples, height, width, channels, output_height, output_width, output_channels;
	int64_t rows, columns, stride[2], padding[2], dilation[2];

	geometry(const shape &x, const shape &w, const shape &y, const descriptor &convolution)
	    : samples(x.dimensions[0]), height(x.dimensions[2]), width(x.dimensions[3]), channels(x.dimensions[1]),
	      output_height(y.dimensions[2]), output_width(y.dimensions[3]), output_channels(y.dimensions[1]),
	      rows(w.dimensions[2]), columns(w.dimensions[3])
	{
		for (int i = 0; i < 2; i++) {
			stride[i] = convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, i);
			padding[i] = convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, i);
			dilation[i] = convolution.value<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, i);
		}
	}

	// Each pair of an output's position and an element of the filter that meets the input: function(y's place, x's place, w's
	// place) of their first channels; w's is the place among rows and columns alone.
	template <typename F> void each(F function) const
	{
		for (int64_t n = 0; n < samples; n++)
			for (int64_t oh = 0; oh < output_height; oh++)
				for (int64_t ow = 0; ow < output_width; ow++)
					for (int64_t r = 0; r < rows; r++)
						for (int64_t s = 0; s < columns; s++) {
							int64_t h = oh * stride[0] - padding[0] + r * dilation[0];
							int64_t w = ow * stride[1] - padding[1] + s * dilation[1];
							if (h < 0 || h >= height || w < 0 || w >= width)
								continue;
							function(((n * output_height + oh) * output_width + ow) *
									 output_channels,
								 ((n * height + h) * width + w) * channels,
								 r * columns + s);
						}
	}
};

void convolve(run &run, const descriptor &operation)
{
	convolution_names names = names_of(operation.type);
	reference x = operation.linked(names.x), w = operation.linked(names.w), y = operation.linked(names.y);
	geometry g(shape(*x), shape(*w), shape(*y), *operation.linked(names.convolution));
	int64_t channels = g.channels, outputs = g.output_channels, taps = g.rows * g.columns;
	if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
		const std::vector<float> &from = run.load(x), &filter = run.load(w);
		// (taps, C, K): the innermost loop runs over what is added to.
		std::vector<float> turned(filter.size()), result(shape(*y).count(), 0.0f);
		for (int64_t k = 0; k < outputs; k++)
			for (int64_t tap = 0; tap < taps * channels; tap++)
				turned[tap * outputs + k] = filter[k * taps * channels + tap];
		g.each([&](int64_t to, int64_t at, int64_t tap) {
			for (int64_t c = 0; c < channels; c++)
				for (int64_t k = 0; k < outputs; k++)
					result[to + k] += from[at + c] * turned[(tap * channels + c) * outputs + k];
		});
		run.store(y, std::move(result));
	} else if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
		const std::vector<float> &filter = run.load(w), &gradient = run.load(y);
		std::vector<float> result(shape(*x).count(), 0.0f);
		g.each([&](int64_t from, int64_t at, int64_t tap) {
			for (int64_t k = 0; k < outputs; k++)
				for (int64_t c = 0; c < channels; c++)
					result[at + c] += gradient[from + k] * filter[(k * taps + tap) * channels + c];
		});
		run.store(x, std::move(result));
	} else {
		const std::vector<float> &from = run.load(x), &gradient = run.load(y);
		std::vector<float> result(shape(*w).count(), 0.0f);
		g.each([&](int64_t of, int64_t at, int64_t tap) {
			for (int64_t k = 0; k < outputs; k++)
				for (int64_t c = 0; c < channels; c++)
					result[(k * taps + tap) * channels + c] += gradient[of + k] * from[at + c];
		});
		run.store(w, std::move(result));
	}
}

void apply_pointwise(run &run, const descriptor &operation)
{
	reference x = operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
	const shape from(*x);
	std::vector<float> result = run.load(x);
	if (!operation.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) {
		const descriptor &pointwise = *operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
		bool propagate = pointwise.has(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION) &&
				 pointwise.value<cudnnNanPropagation_t>(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION) ==
					 CUDNN_PROPAGATE_NAN;
		for (float &value : result)
			if (value <= 0.0f || (value != value && !propagate))
				value = 0.0f;
	} else {
		// A dimension of 1 is one element for all of x's.
		reference b = operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
		const std::vector<float> &added = run.load(b);
		const shape of(*b);
		int64_t at = 0;
		for (int64_t n = 0; n < from.dimensions[0]; n++)
			for (int64_t h = 0; h < from.dimensions[2]; h++)
				for (int64_t w = 0; w < from.dimensions[3]; w++)
					for (int64_t c = 0; c < from.dimensions[1]; c++) {
						int64_t place = n % of.dimensions[0];
						place = place * of.dimensions[2] + h % of.dimensions[2];
						place = place * of.dimensions[3] + w % of.dimensions[3];
						place = place * of.dimensions[1] + c % of.dimensions[1];
						result[at++] += added[place];
					}
	}
	run.store(operation.linked(CUDNN_ATTR_OPERATION_POINTWISE_YDESC), std::move(result));
}

} // namespace

// Operations may stand in any order: each waits for what it reads of the others.
void compute(const std::vector<reference> &operations, const std::map<int64_t, void *> &memory)
{
	run run = {memory, {}};
	std::set<int64_t> to_come;
	std::vector<reference> left = operations;
	for (const reference &operation : operations) {
		std::vector<reference> reads;
		reference writes;
		tensors_of(*operation, &reads, &writes);
		to_come.insert(shape(*writes).uid);
	}
	while (!left.empty())
		for (size_t i = 0; i < left.size(); i++) {
			std::vector<reference> reads;
			reference writes;
			tensors_of(*left[i], &reads, &writes);
			if (std::any_of(reads.begin(), reads.end(), [&](const reference &tensor) {
				    return to_come.count(shape(*tensor).uid) != 0;
			    }))
				continue;
			if (left[i]->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
				apply_pointwise(run, *left[i]);
			else
				convolve(run, *left[i]);
			to_come.erase(shape(*writes).uid);
			left.erase(left.begin() + i);
			break;
		}
}

} // namespace cudnn_stand_in
