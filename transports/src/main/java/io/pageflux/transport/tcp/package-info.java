/** The transport over TCP and Unix domain sockets, on reactor-netty. */
@NullMarked
package io.pageflux.transport.tcp;

import org.jspecify.annotations.NullMarked;
