"""How a browser reaches a desktop's screen: straight to the hypervisor's websocket proxy.

`tickets` signs the short-lived permission, `browser` makes the answer a viewer page needs,
`origins` tells the content security policy which proxies pages may connect to.
"""
