// Element types on the wire: both ends of a plan and of an exchange translate them here. Pure; any thread.
#pragma once

#include "common/model/data_type.h"
#include "penstock/v1/stage_server.pb-c.h"

static inline Penstock__V1__DataType wire_type_of(enum data_type type)
{
	switch (type) {
	case DATA_BFLOAT16:
		return PENSTOCK__V1__DATA_TYPE__DATA_TYPE_BFLOAT16;
	case DATA_FLOAT16:
		return PENSTOCK__V1__DATA_TYPE__DATA_TYPE_FLOAT16;
	default:
		return PENSTOCK__V1__DATA_TYPE__DATA_TYPE_FLOAT32;
	}
}
