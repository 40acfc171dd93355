// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Whose socket is it? A dead daemon's refuses connections. Main thread, at start.

#include "control/socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int folder_create(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 0, path);
	if (*folder && mkdir(folder, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

// 0 when somebody answers, otherwise why not.
static int socket_probe(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, err = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int socket_prepare(const char *path)
{
	struct stat st;
	int err;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? folder_create(path) : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	err = socket_probe(path);
	if (err == 0 || err == -EAGAIN) // a full backlog is alive too
		return -EADDRINUSE;
	if (err != -ECONNREFUSED)
		return err;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
