// See system_calls.h.
#include "stage_server/limits/system_calls.h"

#include <dlfcn.h>
#include <stddef.h>

int real_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "accept4");
	return ((int (*)(int, struct sockaddr *, socklen_t *, int))next)(listener, address, length, flags);
}

ssize_t real_recvmsg(int descriptor, struct msghdr *message, int flags)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "recvmsg");
	return ((ssize_t(*)(int, struct msghdr *, int))next)(descriptor, message, flags);
}

int real_shutdown(int descriptor, int how)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "shutdown");
	return ((int (*)(int, int))next)(descriptor, how);
}

int real_close(int descriptor)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "close");
	return ((int (*)(int))next)(descriptor);
}
