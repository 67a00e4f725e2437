// Status codes of calls and error codes of ours, each to the other.
#include "common/rpc/rpc.h"

const char *rpc_status_name(enum rpc_status status)
{
	switch (status) {
	case RPC_OK:
		return "OK";
	case RPC_CANCELLED:
		return "CANCELLED";
	case RPC_INVALID_ARGUMENT:
		return "INVALID_ARGUMENT";
	case RPC_DEADLINE_EXCEEDED:
		return "DEADLINE_EXCEEDED";
	case RPC_NOT_FOUND:
		return "NOT_FOUND";
	case RPC_PERMISSION_DENIED:
		return "PERMISSION_DENIED";
	case RPC_RESOURCE_EXHAUSTED:
		return "RESOURCE_EXHAUSTED";
	case RPC_FAILED_PRECONDITION:
		return "FAILED_PRECONDITION";
	case RPC_UNIMPLEMENTED:
		return "UNIMPLEMENTED";
	case RPC_INTERNAL:
		return "INTERNAL";
	case RPC_UNAVAILABLE:
		return "UNAVAILABLE";
	}
	return "UNKNOWN";
}

bool rpc_status_explain(enum rpc_status status, const char *detail, struct error *error)
{
	const char *text = detail[0] != '\0' ? detail : "the call ended";
	enum error_code code = rpc_status_to_error_code(status);
	return status == RPC_UNAVAILABLE // says no more than the text
		       ? error_set(error, code, "%s", text)
		       : error_set(error, code, "%s (%s)", text, rpc_status_name(status));
}

enum rpc_status rpc_status_from_error(const struct error *error)
{
	switch (error->code) {
	case ERROR_NONE:
		return RPC_OK;
	case ERROR_USAGE:
	case ERROR_PROTOCOL:
		return RPC_INVALID_ARGUMENT;
	case ERROR_OUT_OF_MEMORY:
	case ERROR_LIMIT:
		return RPC_RESOURCE_EXHAUSTED;
	case ERROR_UNREACHABLE:
		return RPC_UNAVAILABLE;
	case ERROR_VERSION:
		return RPC_FAILED_PRECONDITION;
	case ERROR_CANCELLED:
		return RPC_CANCELLED;
	case ERROR_FAILED:
	case ERROR_DIVERGED: // the coordinator's own
		break;
	}
	return RPC_INTERNAL;
}

enum error_code rpc_status_to_error_code(enum rpc_status status)
{
	switch (status) {
	case RPC_OK:
		return ERROR_NONE;
	case RPC_UNAVAILABLE:
	case RPC_DEADLINE_EXCEEDED:
	case RPC_PERMISSION_DENIED: // it is there, but not for this caller
		return ERROR_UNREACHABLE;
	case RPC_INVALID_ARGUMENT:
	case RPC_NOT_FOUND:
		return ERROR_USAGE;
	case RPC_RESOURCE_EXHAUSTED:
		return ERROR_LIMIT;
	case RPC_FAILED_PRECONDITION:
	case RPC_UNIMPLEMENTED: // it has not the method: it is older, or no stage server at all
		return ERROR_VERSION;
	case RPC_CANCELLED:
		return ERROR_CANCELLED;
	default:
		return ERROR_FAILED;
	}
}
