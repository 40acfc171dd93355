// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The place of a unix socket in the file system.

#pragma once

// Makes `path` free to be bound: creates its folder when only that is missing, removes the socket
// of a dead predecessor. A live one is refused (-EADDRINUSE), as is anything that is no socket
// (-ENOTSOCK). Other negative errno of the file system.
int socket_prepare(const char *path);
