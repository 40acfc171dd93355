# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The test hosts behind tools/testbed: three network namespaces, a broker, a daemon."""
