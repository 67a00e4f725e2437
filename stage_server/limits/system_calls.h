// The C library's own accept4, shutdown and close, and the kernel's recvmsg, which connections.c stands in front of.
// Any thread.
#pragma once

#include <sys/socket.h>

int real_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
ssize_t real_recvmsg(int descriptor, struct msghdr *message, int flags);
int real_shutdown(int descriptor, int how);
int real_close(int descriptor);
