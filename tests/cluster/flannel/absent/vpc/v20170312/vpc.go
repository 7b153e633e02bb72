// Package v20170312 stands for a cloud's client that is not there: whoever asks it is told so.
package v20170312

import "errors"

var errAbsent = errors.New("this flannel is built without the backend tencent-vpc")

type (
	// Client asks nobody.
	Client struct{}
	// Filter is a part of a question.
	Filter struct {
		Name   *string
		Values []*string
	}
	// Route is a part of an answer.
	Route struct {
		RouteId                         *uint64
		DestinationCidrBlock, GatewayId *string
		GatewayType, RouteType          *string
		Enabled                         *bool
	}
	// RouteTable is a part of an answer.
	RouteTable struct {
		RouteTableId *string
		RouteSet     []*Route
	}
	// DescribeRouteTablesRequest is a question.
	DescribeRouteTablesRequest struct{ Filters []*Filter }
	// DescribeRouteTablesResponse is an answer.
	DescribeRouteTablesResponse struct {
		Response *struct{ RouteTableSet []*RouteTable }
	}
	// RoutesRequest is a change.
	RoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}
)

// NewClientWithSecretId makes a client.
func NewClientWithSecretId(_, _, _ string) (*Client, error) { return nil, errAbsent }

// NewDescribeRouteTablesRequest makes a question.
func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}

// NewDeleteRoutesRequest makes a change.
func NewDeleteRoutesRequest() *RoutesRequest { return &RoutesRequest{} }

// NewCreateRoutesRequest makes a change.
func NewCreateRoutesRequest() *RoutesRequest { return &RoutesRequest{} }

// DescribeRouteTables has no answer.
func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errAbsent
}

// DeleteRoutes changes nothing.
func (*Client) DeleteRoutes(*RoutesRequest) (any, error) { return nil, errAbsent }

// CreateRoutes changes nothing.
func (*Client) CreateRoutes(*RoutesRequest) (any, error) { return nil, errAbsent }
