// Numbers and names that both ends of the wire must agree on. Pure constants.
#pragma once

enum {
	PROTOCOL_VERSION = 4,         // a daemon refuses a coordinator or a neighbour of another one
	PROTOCOL_HEARTBEAT_MS = 1000, // how often each end of a Session speaks
	PROTOCOL_PAUSE_MS = 8000,     // a process that is stopped for less than this keeps its jobs
	// Silence after which the other end counts as lost. It is counted from the last heartbeat, which may have come a whole interval
	// before a pause began; two seconds are for a busy machine, on which heartbeats are late.
	PROTOCOL_TIMEOUT_MS = PROTOCOL_PAUSE_MS + PROTOCOL_HEARTBEAT_MS + 2000,
	PROTOCOL_MAXIMUM_QUEUED_STEPS = 4, // RunStep orders that a stage may hold at once
	PROTOCOL_TOKEN_BYTES = 16,
	PROTOCOL_GROUP_ID_BYTES = 128,
	PROTOCOL_PARAMETER_CHUNK_BYTES = 4 << 20, // largest payload of LoadParameter and SavedParameter
	PROTOCOL_MAXIMUM_CHUNK_BYTES = 8 << 20,   // of a tensor
	PROTOCOL_MINIMUM_CHUNK_BYTES = 4 << 10,
	PROTOCOL_MAXIMUM_CONNECTIONS = 16, // per boundary
	// Of a rank's questions about kernels, and of a question's kernels; and of the characters of keys, names and machines.
	PROTOCOL_MAXIMUM_KERNEL_QUESTIONS = 1024,
	PROTOCOL_MAXIMUM_KERNELS = 8,
	PROTOCOL_MAXIMUM_KERNEL_TEXT = 159,
	PROTOCOL_KEEPALIVE_MS = 10000,
	// Without an answer to a keepalive, or to data, after which a connection is closed. Longer than the silence that a session takes for a
	// loss: the coordinator then names the daemon that is silent before that daemon's neighbours report a broken link.
	PROTOCOL_KEEPALIVE_TIMEOUT_MS = PROTOCOL_TIMEOUT_MS + 5000,
	PROTOCOL_MAXIMUM_REPLICAS = 256,
	PROTOCOL_MAXIMUM_STEP_MICRO_BATCHES = 65536, // of all replicas
	// Of gradients that are summed at once; the default is that of PyTorch's DistributedDataParallel.
	PROTOCOL_MINIMUM_BUCKET_BYTES = 4 << 10,
	PROTOCOL_MAXIMUM_BUCKET_BYTES = 1 << 30,
};

#define PROTOCOL_METHOD_DESCRIBE           "/penstock.v1.StageServer/Describe"
#define PROTOCOL_METHOD_SESSION            "/penstock.v1.StageServer/Session"
#define PROTOCOL_METHOD_EXCHANGE           "/penstock.v1.StageServer/Exchange"
#define PROTOCOL_METHOD_HEALTH_CHECK       "/grpc.health.v1.Health/Check"
#define PROTOCOL_METHOD_HEALTH_WATCH       "/grpc.health.v1.Health/Watch"
#define PROTOCOL_METHOD_REFLECTION         "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define PROTOCOL_METHOD_REFLECTION_V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
