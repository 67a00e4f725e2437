// Errors of the control path. See error.h.
#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool(error_set)(struct error *error, enum error_code code, const char *format, ...)
{
	if (error == NULL)
		return false;
	error->code = code;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	return false;
}

bool(error_wrap)(struct error *error, const char *format, ...)
{
	if (error == NULL)
		return false;
	char inner[ERROR_MESSAGE_SIZE];
	memcpy(inner, error->message, sizeof(inner));
	va_list arguments;
	va_start(arguments, format);
	int written = vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	size_t used = written < 0 ? 0 : (size_t)written;
	if (used < sizeof(error->message))
		snprintf(error->message + used, sizeof(error->message) - used, ": %s", inner);
	return false;
}

const char *error_code_name(enum error_code code)
{
	switch (code) {
	case ERROR_NONE:
		return "none";
	case ERROR_FAILED:
		return "failed";
	case ERROR_USAGE:
		return "usage";
	case ERROR_OUT_OF_MEMORY:
		return "out_of_memory";
	case ERROR_UNREACHABLE:
		return "unreachable";
	case ERROR_PROTOCOL:
		return "protocol";
	case ERROR_VERSION:
		return "version";
	case ERROR_LIMIT:
		return "limit";
	case ERROR_CANCELLED:
		return "cancelled";
	case ERROR_DIVERGED:
		return "diverged";
	}
	return "failed";
}

int error_exit_code(const struct error *error)
{
	switch (error->code) {
	case ERROR_NONE:
		return 0;
	case ERROR_USAGE:
		return 2;
	case ERROR_OUT_OF_MEMORY:
		return 3;
	case ERROR_UNREACHABLE:
		return 4;
	default:
		return 1;
	}
}
