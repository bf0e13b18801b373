"""How a browser reaches a desktop's screen: straight to the hypervisor's websocket proxy.

`tickets` signs the short-lived permission, `browser` makes the answer a viewer page needs,
`portal` tells a reverse proxy in front where a hypervisor's proxy is, `origins` tells the content
security policy which proxies pages may connect to.
"""
