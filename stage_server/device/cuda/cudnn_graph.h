// A small layer over cuDNN's backend API (the "graph API"): operations on NHWC tensors become an operation graph, and a graph
// the execution plans of the engines that cuDNN's heuristics name for it. Descriptors, attributes and their types: NVIDIA cuDNN
// Backend API Reference, "cudnn_graph Library", "Backend Descriptor Types". It knows the operations that convolution_plans.c
// needs and no more.
//
// A graph: create, describe tensors and operations on them, finalize, then ask for plans. Everything belongs to the graph
// until cudnn_graph_destroy, the plans included. Nothing here allocates on the device or waits for it.
//
// Threads: one at a time, with the device current.
#pragma once

#include <cudnn.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/data_type.h"

struct cudnn_graph;

// A tensor by its dimensions in cuDNN's order, whatever the layout: (N, C, H, W), and (K, C, R, S) of a filter. It lies with the
// channels innermost.
struct cudnn_graph_tensor {
	int64_t uid; // by which cudnn_graph_run is given its memory
	enum data_type type;
	uint32_t dimensions[4];
	uint32_t alignment; // of its memory, bytes: what is not aligned so is a fault on the device
	bool inner;         // between two operations, never in memory ("virtual")
};

bool cudnn_graph_create(struct cudnn_graph **ret_graph, struct error *error);
void cudnn_graph_destroy(struct cudnn_graph *graph); // takes NULL

// Tensors are named by the index that they get, in order from 0.
bool cudnn_graph_add_tensor(struct cudnn_graph *graph, const struct cudnn_graph_tensor *tensor, struct error *error);

enum cudnn_graph_convolution {
	CUDNN_GRAPH_CONVOLUTION_FORWARD,         // y = x * w
	CUDNN_GRAPH_CONVOLUTION_BACKWARD_DATA,   // x = the gradient that w takes y's to
	CUDNN_GRAPH_CONVOLUTION_BACKWARD_FILTER, // w = the gradient of x and y's
};
// Cross-correlation, as all of deep learning has it; products are added up in float32.
bool cudnn_graph_add_convolution(struct cudnn_graph *graph, enum cudnn_graph_convolution convolution, uint32_t stride,
				 uint32_t padding, uint32_t x, uint32_t w, uint32_t y, struct error *error);
// y = x + b, where b's dimensions are x's or 1; y = what of x is above 0, or is no number. In float32.
bool cudnn_graph_add_sum(struct cudnn_graph *graph, uint32_t x, uint32_t b, uint32_t y, struct error *error);
bool cudnn_graph_add_relu(struct cudnn_graph *graph, uint32_t x, uint32_t y, struct error *error);

bool cudnn_graph_finalize(struct cudnn_graph *graph, cudnnHandle_t handle, struct error *error);

// What an engine must not do to be asked; bits by cudnnBackendNumericalNote_t.
#define CUDNN_GRAPH_NOTE(note) (UINT32_C(1) << (note))

struct cudnn_graph_plan {
	cudnnBackendDescriptor_t plan;
	uint64_t workspace_bytes;
	char name[160]; // "engine_3.k2=1.k7=4": the engine's index and its knobs' values, without white space
};
// Plans in the order in which the heuristics rank them, then those of the engines that can nearly always run: at most `maximum`,
// none that needs more workspace than `limit_bytes` or has a note of `refused_notes`, no two of one name. An engine whose plan
// cannot be built is left out. `only`: the plan of that name alone is built; NULL: all. False where none is left: the message says why the last one was refused.
bool cudnn_graph_make_plans(struct cudnn_graph *graph, cudnnHandle_t handle, uint32_t refused_notes,
			    uint64_t limit_bytes, uint32_t maximum, const char *only,
			    struct cudnn_graph_plan *ret_plans, uint32_t *ret_count, struct error *error);

// Issues the plan on the handle's stream; `memory[i]` is the tensor of `uids[i]`. All tensors that are not inner are there.
bool cudnn_graph_run(const struct cudnn_graph_plan *plan, cudnnHandle_t handle, uint32_t count, const int64_t *uids,
		     void *const *memory, void *workspace, struct error *error);
