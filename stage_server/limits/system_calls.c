// See system_calls.h.
#include "stage_server/limits/system_calls.h"

#include <dlfcn.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int real_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
	static _Atomic(void *) next;
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "accept4");
	return ((int (*)(int, struct sockaddr *, socklen_t *, int))next)(listener, address, length, flags);
}

// Straight to the kernel: ThreadSanitizer's own recvmsg passes over gRPC's calls, but not over this one, and would take every byte that
// gRPC's threads hand on for a race.
ssize_t real_recvmsg(int descriptor, struct msghdr *message, int flags)
{
	return syscall(SYS_recvmsg, descriptor, message, flags);
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
